/**
 * A few words for building and updating the document. Text goes in as text and never as markup, because topics, racks and
 * hosts are named by other people. What did not change is not touched, so that a selection, a focus or a hover survives.
 */
const SVG = 'http://www.w3.org/2000/svg'

/** `properties`: attributes; `class` too. Children are nodes or text. */
export function element(tag, properties = {}, ...children) {
  const made = document.createElement(tag)
  for (const [name, value] of Object.entries(properties)) made.setAttribute(name, value)
  made.append(...children)
  return made
}

export function svg(tag, properties = {}, ...children) {
  const made = document.createElementNS(SVG, tag)
  for (const [name, value] of Object.entries(properties)) made.setAttribute(name, value)
  made.append(...children)
  return made
}

export function setText(node, text) {
  if (node.textContent !== text) node.textContent = text
}

export function setAttribute(node, name, value) {
  if (value === null) node.removeAttribute(name)
  else if (node.getAttribute(name) !== value) node.setAttribute(name, value)
}

/**
 * Makes the children of `parent` those of `items`, in order: `create(item)` once per key, `update(child, item)` each time.
 * The first `fixed` children are not items and stay.
 */
export function keyed(parent, items, keyOf, create, update, fixed = 0) {
  const byKey = new Map([...parent.children].slice(fixed).map((child) => [child.dataset.key, child]))
  let position = fixed
  for (const item of items) {
    const key = String(keyOf(item))
    let child = byKey.get(key)
    if (child === undefined) {
      child = create(item)
      child.dataset.key = key
    } else byKey.delete(key)
    if (parent.children[position] !== child) parent.insertBefore(child, parent.children[position] ?? null)
    update(child, item)
    position++
  }
  for (const gone of byKey.values()) gone.remove()
}

const UNKNOWN = '–'

export function whole(n) {
  return n === null || n === undefined ? UNKNOWN : n.toLocaleString('en-US')
}

/** Three significant digits and a letter: `1.23k`. */
export function short(n, units = ['', 'k', 'M', 'G', 'T']) {
  if (n === null || n === undefined) return UNKNOWN
  let value = n
  let unit = 0
  while (value >= 999.5 && unit < units.length - 1) {
    value /= 1000
    unit++
  }
  const digits =
    value >= 99.95 || (unit === 0 && value >= 9.95) || value === 0 ? 0 : value >= 9.95 ? 1 : unit === 0 ? 1 : 2
  return `${value.toFixed(digits)}${units[unit]}`
}

export function bytes(n) {
  return short(n, [' B', ' kB', ' MB', ' GB', ' TB'])
}

export function duration(ms) {
  if (ms === null || ms === undefined) return UNKNOWN
  const seconds = Math.floor(ms / 1000)
  const pair = (big, bigUnit, little, littleUnit) => `${big} ${bigUnit}${little > 0 ? ` ${little} ${littleUnit}` : ''}`
  if (seconds < 60) return `${seconds} s`
  if (seconds < 3600) return pair(Math.floor(seconds / 60), 'min', seconds % 60, 's')
  if (seconds < 86_400) return pair(Math.floor(seconds / 3600), 'h', Math.floor((seconds % 3600) / 60), 'min')
  return pair(Math.floor(seconds / 86_400), 'd', Math.floor((seconds % 86_400) / 3600), 'h')
}
