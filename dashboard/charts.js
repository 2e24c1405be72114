/**
 * Lines over the last two minutes, drawn as SVG. Time runs to the right and now is the right edge. A gap in a line is a time
 * of which nothing is known; it is not drawn as zero.
 */
import { element, setAttribute, setText, short, svg } from './elements.js'
import { WINDOW_MS } from './model.js'

export function sparkline() {
  const root = svg('svg', { class: 'spark', viewBox: '0 0 100 24', preserveAspectRatio: 'none', 'aria-hidden': 'true' })
  root.append(svg('path', { class: 'area' }), svg('path', { class: 'line' }))
  return root
}

/** `most` lets several lines share a scale; default the line's own highest value. */
export function drawSparkline(root, series, now, most = series.max) {
  const { line, area } = paths(series.points, now, { left: 0, top: 2, width: 100, height: 21 }, most)
  setAttribute(root.children[0], 'd', area)
  setAttribute(root.children[1], 'd', line)
}

function paths(points, now, box, most) {
  const base = box.top + box.height
  let line = ''
  let area = ''
  let start = null
  let x = 0
  const close = () => {
    if (start !== null) area += `L${x} ${base}L${start} ${base}Z`
    start = null
  }
  for (const { at, value } of points) {
    if (value === null || at < now - WINDOW_MS) {
      close()
      continue
    }
    x = round(box.left + box.width * (1 - (now - at) / WINDOW_MS))
    const y = round(base - (most > 0 ? box.height * (value / most) : 0))
    line += `${start === null ? 'M' : 'L'}${x} ${y}`
    area += `${start === null ? `M${x} ${base}L` : 'L'}${x} ${y}`
    if (start === null) start = x
  }
  close()
  return { line, area }
}

function round(n) {
  return Math.round(n * 10) / 10
}

/** 1, 2 or 5 times a power of ten, at or above `n`. */
export function niceCeiling(n) {
  if (n <= 0) return 1
  const power = 10 ** Math.floor(Math.log10(n))
  return [1, 2, 2.5, 5, 10].map((step) => step * power).find((step) => step >= n * 0.9999)
}

const HEIGHT = 208
const BOX = { left: 46, top: 12, right: 10, bottom: 24 }

/** Records in and out of the whole cluster, with marks where something happened. */
export class ThroughputChart {
  #root = svg('svg', { class: 'chart', height: String(HEIGHT), role: 'img' })
  #grid = svg('g', { class: 'grid' })
  #marks = svg('g', { class: 'marks' })
  #lines = { recordsOut: this.#pair('out'), recordsIn: this.#pair('in') }
  #cursor = svg('line', { class: 'cursor', y1: String(BOX.top), y2: String(HEIGHT - BOX.bottom), visibility: 'hidden' })
  #readout
  #totals = null
  #moments = []
  #now = 0
  #pointer = null

  constructor(parent, readout) {
    this.#readout = readout
    const { recordsOut, recordsIn } = this.#lines
    this.#root.append(
      this.#grid,
      this.#marks,
      recordsIn.area,
      recordsOut.area,
      recordsOut.line,
      recordsIn.line,
      this.#cursor,
    )
    parent.append(this.#root)
    new ResizeObserver(() => this.#draw()).observe(parent)
    this.#root.addEventListener('pointermove', (event) => {
      this.#pointer = event.clientX - this.#root.getBoundingClientRect().left
      this.#point()
    })
    this.#root.addEventListener('pointerleave', () => {
      this.#pointer = null
      this.#point()
    })
  }

  /** `moments`: `{ at, severity }` on the clock of `now`. */
  update(totals, moments, now) {
    this.#totals = totals
    this.#moments = moments
    this.#now = now
    this.#draw()
  }

  #pair(name) {
    return { area: svg('path', { class: `area ${name}` }), line: svg('path', { class: `line ${name}` }) }
  }

  get #width() {
    return Math.max(200, this.#root.parentElement.clientWidth)
  }

  get #box() {
    const { left, top, right, bottom } = BOX
    return { left, top, width: this.#width - left - right, height: HEIGHT - top - bottom }
  }

  #draw() {
    if (this.#totals === null) return
    const box = this.#box
    setAttribute(this.#root, 'viewBox', `0 0 ${this.#width} ${HEIGHT}`)
    const { history, rates } = this.#totals
    const most = niceCeiling(Math.max(history.recordsIn.max, history.recordsOut.max))
    for (const [name, { line, area }] of Object.entries(this.#lines)) {
      const drawn = paths(history[name].points, this.#now, box, most)
      setAttribute(line, 'd', drawn.line)
      setAttribute(area, 'd', drawn.area)
    }
    this.#drawGrid(box, most)
    this.#drawMarks(box)
    const label = `Records per second over two minutes. Now in ${short(rates.recordsIn)}, out ${short(rates.recordsOut)}.`
    setAttribute(this.#root, 'aria-label', label)
    this.#point()
  }

  #drawGrid(box, most) {
    const parts = []
    for (const share of [0, 0.25, 0.5, 0.75, 1]) {
      const y = round(box.top + box.height * (1 - share)) + 0.5
      parts.push(
        svg('line', { x1: box.left, x2: box.left + box.width, y1: y, y2: y, class: share === 0 ? 'base' : '' }),
      )
      if (share % 0.5 === 0) parts.push(text(box.left - 8, y + 4, 'end', short(most * share)))
    }
    for (const seconds of box.width < 480 ? [120, 60, 0] : [120, 90, 60, 30, 0]) {
      const x = round(box.left + box.width * (1 - (seconds * 1000) / WINDOW_MS))
      const anchor = seconds === 120 ? 'start' : seconds === 0 ? 'end' : 'middle'
      parts.push(text(x, HEIGHT - 6, anchor, seconds === 0 ? 'now' : `${seconds} s ago`))
    }
    this.#grid.replaceChildren(...parts)
  }

  #drawMarks(box) {
    const recent = this.#moments.filter(({ at }) => at > this.#now - WINDOW_MS)
    this.#marks.replaceChildren(
      ...recent.map(({ at, severity, text: title }) => {
        const x = round(box.left + box.width * Math.min(1, 1 - (this.#now - at) / WINDOW_MS))
        const line = svg('line', { x1: x, x2: x, y1: box.top, y2: box.top + box.height, class: severity })
        const tip = svg('title')
        tip.textContent = title
        return svg('g', {}, line, svg('circle', { cx: x, cy: box.top, r: 3, class: severity }), tip)
      }),
    )
  }

  /** What the lines say under the pointer. */
  #point() {
    const box = this.#box
    const inside = this.#pointer !== null && this.#totals !== null && this.#pointer >= box.left
    setAttribute(this.#cursor, 'visibility', inside ? 'visible' : 'hidden')
    if (!inside) return setText(this.#readout, '')
    const at = this.#now - WINDOW_MS * (1 - (this.#pointer - box.left) / box.width)
    const nearest = (series) =>
      series.points.reduce(
        (best, p) => (best === null || Math.abs(p.at - at) < Math.abs(best.at - at) ? p : best),
        null,
      )
    const incoming = nearest(this.#totals.history.recordsIn)
    const outgoing = nearest(this.#totals.history.recordsOut)
    setAttribute(this.#cursor, 'x1', String(this.#pointer))
    setAttribute(this.#cursor, 'x2', String(this.#pointer))
    if (incoming === null || Math.abs(incoming.at - at) > 3000) return setText(this.#readout, 'nothing known then')
    const ago = Math.max(0, Math.round((this.#now - at) / 1000))
    setText(this.#readout, `${ago} s ago: ${short(incoming.value)}/s in, ${short(outgoing.value)}/s out`)
  }
}

function text(x, y, anchor, content) {
  const made = svg('text', { x, y, 'text-anchor': anchor })
  made.textContent = content
  return made
}

/**
 * One partition's log: what was cut, what is committed, and what is on its way. The bars of a topic share a scale, so that a
 * skew shows; its end is a round number above the topic's largest offset, so that the marks are seen to move.
 */
export function marksBar() {
  return element(
    'div',
    { class: 'bar', 'aria-hidden': 'true' },
    element('i', { class: 'cut' }),
    element('i', { class: 'held' }),
    element('i', { class: 'ahead' }),
  )
}

export function drawMarksBar(bar, row, ceiling) {
  const scale = 100 / niceCeiling(ceiling)
  const [cut, held, ahead] = bar.children
  cut.style.width = `${row.startOffset * scale}%`
  held.style.left = `${row.startOffset * scale}%`
  held.style.width = `${(row.highWatermark - row.startOffset) * scale}%`
  ahead.style.left = `${row.highWatermark * scale}%`
  ahead.style.width = row.inFlight > 0 ? `max(3px, ${row.inFlight * scale}%)` : '0'
  bar.classList.toggle('moving', row.rate > 0)
  bar.classList.toggle('leaderless', row.state === 'leaderless')
}

/** Every partition of a topic as one cell, coloured by its state: hundreds fit into the width of a column. */
export function stateStrip() {
  return svg('svg', { class: 'strip', preserveAspectRatio: 'none', 'aria-hidden': 'true' })
}

export function drawStateStrip(root, partitions) {
  const states = partitions.map((row) => row.state)
  const key = states.join(' ')
  if (root.dataset.states === key) return
  root.dataset.states = key
  const gap = states.length > 80 ? 0 : 0.12
  setAttribute(root, 'viewBox', `0 0 ${states.length} 1`)
  root.replaceChildren(
    ...states.map((state, i) => svg('rect', { x: i + gap / 2, y: 0, width: 1 - gap, height: 1, class: state })),
  )
}
