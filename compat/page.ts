/**
 * The live page in a real browser: does it draw what the cluster says, at a desk and on a telephone, in the light and in the
 * dark, without an error, without anything from elsewhere, and so that it can be read?
 *
 * Contrast is measured as WCAG 2 defines it (relative luminance, 4.5 to 1, and 3 to 1 for large text), for every text that is
 * visible, against the colours that really lie behind it.
 *
 *     node dist/compat/page.js http://127.0.0.1:19094/
 */
import { accessSync, constants } from 'node:fs'
import { delimiter, join } from 'node:path'
import { pathToFileURL } from 'node:url'
import { type Browser, chromium, type Page } from 'playwright-core'

interface View {
  readonly name: string
  readonly width: number
  readonly height: number
  readonly colorScheme: 'light' | 'dark'
}

const VIEWS: readonly View[] = [
  { name: 'wide, light', width: 1600, height: 1000, colorScheme: 'light' },
  { name: 'wide, dark', width: 1600, height: 1000, colorScheme: 'dark' },
  { name: 'middle, light', width: 1000, height: 800, colorScheme: 'light' },
  { name: 'narrow, light', width: 390, height: 844, colorScheme: 'light' },
  { name: 'narrow, dark', width: 390, height: 844, colorScheme: 'dark' },
]

const HEADINGS = ['Tidemark', 'Throughput of the cluster', 'Nodes', 'Topics', 'Metadata shard', 'What the words mean']
const PATIENCE_MS = 10_000

/** No first-run pages, no updates, no look-ups: only what the page itself asks for. */
const BROWSER_FLAGS = [
  '--no-sandbox',
  '--disable-gpu',
  '--disable-quic',
  '--no-first-run',
  '--disable-background-networking',
  '--disable-component-update',
  '--disable-sync',
]

/** What is wrong with the page at `url`; empty when nothing is. */
export async function checkPage(url: string, chromiumPath: string): Promise<string[]> {
  const browser = await chromium.launch({ executablePath: chromiumPath, headless: true, args: BROWSER_FLAGS })
  try {
    const defects: string[] = []
    for (const view of VIEWS) {
      for (const defect of await checkView(browser, url, view)) defects.push(`${view.name}: ${defect}`)
    }
    return defects
  } finally {
    await browser.close()
  }
}

/** A Chromium on the search path, or what CHROMIUM names; null when there is none. */
export function findChromium(): string | null {
  const named = process.env.CHROMIUM
  const names = ['chromium', 'chromium-browser', 'google-chrome', 'google-chrome-stable', 'chrome']
  const folders = (process.env.PATH ?? '').split(delimiter).filter((folder) => folder !== '')
  const candidates =
    named === undefined ? names.flatMap((name) => folders.map((folder) => join(folder, name))) : [named]
  return candidates.find(isExecutable) ?? null
}

function isExecutable(path: string): boolean {
  try {
    accessSync(path, constants.X_OK)
    return true
  } catch {
    return false
  }
}

async function checkView(browser: Browser, url: string, view: View): Promise<string[]> {
  const { width, height, colorScheme } = view
  const page = await browser.newPage({ viewport: { width, height }, colorScheme, reducedMotion: 'reduce' })
  const defects: string[] = []
  const origin = new URL(url).origin
  page.on('console', (message) => {
    if (message.type() === 'error' || message.type() === 'warning') defects.push(`console: ${message.text()}`)
  })
  page.on('pageerror', (error) => defects.push(`script error: ${error.message}`))
  page.on('request', (request) => {
    const asked = request.url()
    if (!asked.startsWith(`${origin}/`) && !asked.startsWith('data:')) defects.push(`asks for ${asked}`)
  })
  try {
    const response = await page.goto(url, { timeout: PATIENCE_MS })
    if (response === null || !response.ok()) return [`the page answers ${response?.status() ?? 'nothing'}`]
    await page.locator('#nodes article').first().waitFor({ timeout: PATIENCE_MS })
    await page.locator('#metadata .partition-row').first().waitFor({ timeout: PATIENCE_MS })
    await page.locator('#open-all').click()
    defects.push(...(await missingTexts(page, origin)), ...(await overflow(page)))
    await page.locator('#words summary').click()
    defects.push(...((await page.evaluate(CONTRAST_DEFECTS)) as string[]))
    if (width > 760) defects.push(...(await wordDefects(page)))
    defects.push(...(await keyboardDefects(page)))
  } catch (error) {
    defects.push((error as Error).message.split('\n')[0]!)
  } finally {
    await page.close()
  }
  return [...new Set(defects)]
}

interface Shown {
  readonly cluster: string | null
  readonly nodes: readonly { readonly node: number; readonly kafka: string }[]
  readonly shards: readonly { readonly topic: string | null }[]
}

/** Every node and every topic that the cluster names is on the page. */
async function missingTexts(page: Page, origin: string): Promise<string[]> {
  const answer = await fetch(`${origin}/api/cluster`)
  const status = (await answer.json()) as Shown
  const text = (await page.locator('body').textContent()) ?? ''
  const topics = new Set(status.shards.flatMap(({ topic }) => (topic === null ? [] : [topic])))
  const expected = [
    ...HEADINGS,
    status.cluster ?? 'being formed',
    ...status.nodes.flatMap(({ node, kafka }) => [`Node ${node}`, kafka]),
    ...topics,
  ]
  return expected.filter((words) => !text.includes(words)).map((words) => `does not show ${JSON.stringify(words)}`)
}

async function overflow(page: Page): Promise<string[]> {
  const [content, window] = (await page.evaluate('[document.documentElement.scrollWidth, innerWidth]')) as [
    number,
    number,
  ]
  return content > window ? [`is ${content} px wide in a window of ${window} px`] : []
}

/** A word explains itself to those who use the keyboard, and goes away again. */
async function wordDefects(page: Page): Promise<string[]> {
  const defects: string[] = []
  const words = await page.locator('button.word:visible').all()
  for (const word of words) {
    await word.focus()
    if (!(await page.locator('#tip').isVisible())) {
      defects.push(`nothing explains ${JSON.stringify(await word.textContent())} when it has the focus`)
    }
  }
  await page.keyboard.press('Escape')
  if (await page.locator('#tip').isVisible()) defects.push('Escape does not close an explanation')
  return words.length === 0 ? ['no word can be explained'] : defects
}

async function keyboardDefects(page: Page): Promise<string[]> {
  const topic = page.locator('.topic-row button').first()
  if ((await topic.count()) === 0) return []
  const before = await topic.getAttribute('aria-expanded')
  await topic.press('Enter')
  return (await topic.getAttribute('aria-expanded')) === before ? ['a topic does not open and close with Enter'] : []
}

/** Runs in the page. A canvas turns whatever notation a colour has into numbers. */
const CONTRAST_DEFECTS = `(() => {
  const context = document.createElement('canvas').getContext('2d', { willReadFrequently: true })
  const numbers = new Map()
  const rgba = (colour) => {
    if (!numbers.has(colour)) {
      context.clearRect(0, 0, 1, 1)
      context.fillStyle = colour
      context.fillRect(0, 0, 1, 1)
      const [r, g, b, a] = context.getImageData(0, 0, 1, 1).data
      numbers.set(colour, [r, g, b, a / 255])
    }
    return numbers.get(colour)
  }
  const over = ([r, g, b, a], below) => [r, g, b].map((value, i) => value * a + below[i] * (1 - a))
  const behind = (element) => {
    const layers = []
    for (let at = element; at !== null; at = at.parentElement) layers.unshift(rgba(getComputedStyle(at).backgroundColor))
    return layers.reduce((below, layer) => over(layer, below), [255, 255, 255])
  }
  const luminance = (colour) => {
    const [r, g, b] = colour.map((value) => (value / 255 <= 0.04045 ? value / 255 / 12.92 : ((value / 255 + 0.055) / 1.055) ** 2.4))
    return 0.2126 * r + 0.7152 * g + 0.0722 * b
  }
  const found = new Map()
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT)
  for (let node = walker.nextNode(); node !== null; node = walker.nextNode()) {
    const element = node.parentElement
    if (node.data.trim() === '' || element.closest('script, style, title, noscript, .unseen')) continue
    if (!element.checkVisibility({ visibilityProperty: true })) continue
    const style = getComputedStyle(element)
    const ground = behind(element)
    const ink = over(rgba(element instanceof SVGElement ? style.fill : style.color), ground)
    const [light, dark] = [luminance(ink), luminance(ground)].sort((a, b) => b - a)
    const ratio = (light + 0.05) / (dark + 0.05)
    const size = parseFloat(style.fontSize)
    const large = size >= 24 || (size >= 18.66 && Number(style.fontWeight) >= 700)
    if (ratio >= (large ? 3 : 4.5)) continue
    const name = element.tagName.toLowerCase() + [...element.classList].map((c) => '.' + c).join('')
    if (!found.has(name)) found.set(name, 'contrast ' + ratio.toFixed(2) + ' to 1 of ' + name + ' ' + JSON.stringify(node.data.trim().slice(0, 40)))
  }
  return [...found.values()]
})()`

async function main(): Promise<number> {
  const url = process.argv[2]
  if (url === undefined || url === '--help') {
    console.log(
      'Usage: node dist/compat/page.js URL\n\nLooks at the live page of a running node in Chromium (CHROMIUM names one).',
    )
    return url === undefined ? 1 : 0
  }
  const browser = findChromium()
  if (browser === null) {
    console.log('page: NOT CHECKED, no Chromium on the search path (install one, or set CHROMIUM)')
    return 0
  }
  const defects = await checkPage(url, browser)
  for (const defect of defects) console.log(`page: ${defect}`)
  console.log(`page: ${VIEWS.length} views, ${defects.length} defects`)
  return defects.length === 0 ? 0 : 1
}

if (process.argv[1] !== undefined && import.meta.url === pathToFileURL(process.argv[1]).href) {
  process.exitCode = await main()
}
