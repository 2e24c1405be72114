/**
 * The files of the page, read once and kept: a few tens of kilobytes. A request for the page then touches no disk, so a disk that
 * hangs cannot hold up the event loop, and with it the heartbeats, because somebody looks.
 *
 * A program that was bundled into one file may have left the page behind. That is no reason to refuse records: the page's
 * address then says what is missing, and everything else works.
 */
export interface PageFile {
  readonly contentType: string
  readonly body: ArrayBuffer
}

const CONTENT_TYPES: Readonly<Record<string, string>> = {
  'index.html': 'text/html; charset=utf-8',
  'dashboard.css': 'text/css; charset=utf-8',
  'dashboard.js': 'text/javascript; charset=utf-8',
  'charts.js': 'text/javascript; charset=utf-8',
  'elements.js': 'text/javascript; charset=utf-8',
  'feed.js': 'text/javascript; charset=utf-8',
  'model.js': 'text/javascript; charset=utf-8',
  'moments.js': 'text/javascript; charset=utf-8',
  'views.js': 'text/javascript; charset=utf-8',
}

export const PAGE_FILES: readonly string[] = Object.keys(CONTENT_TYPES)

/** Never rejects: a file that cannot be read is absent from the map. */
export async function readPage(directory: string): Promise<ReadonlyMap<string, PageFile>> {
  const page = new Map<string, PageFile>()
  const library = Promise.all([import('@hono/node-server/serve-static'), import('hono')])
  // Whoever asks for the page hears of it from the gateway, which cannot answer without them either.
  const loaded = await library.catch(() => null)
  if (loaded === null) return page
  const [{ serveStatic }, { Hono }] = loaded
  await Promise.all(
    Object.entries(CONTENT_TYPES).map(async ([file, contentType]) => {
      const reader = new Hono().get('/', serveStatic({ path: `${directory}/${file}` }))
      const response = await reader.request('/')
      if (!response.ok) return
      const body = await response.arrayBuffer().catch(() => null)
      if (body !== null) page.set(file, { contentType, body })
    }),
  )
  return page
}
