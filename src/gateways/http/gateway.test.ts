import assert from 'node:assert/strict'
import { once } from 'node:events'
import { type AddressInfo, createServer } from 'node:net'
import { resolve } from 'node:path'
import { test } from 'node:test'
import { HttpError } from './errors.ts'
import { HttpGateway, type HttpSources } from './gateway.ts'
import { openApi } from './open-api.ts'
import { PAGE_FILES } from './page-files.ts'
import { mergeStatus, type NodeStatus } from './status.ts'

const DASHBOARD = resolve('dashboard')
const ANYWHERE = { host: '127.0.0.1', port: 0 }

const NODE: NodeStatus = {
  node: 1,
  version: '0.1.0',
  cluster: 'cluster-of-tests',
  kafka: '127.0.0.1:9092',
  http: '127.0.0.1:9644',
  peer: '127.0.0.1:7400',
  rack: 'a',
  diskIncarnation: 'ff',
  uptimeMs: 4200,
  memoryBytes: 70_000_000,
  disk: { freeBytes: 9e9, totalBytes: 1e10, reserveBytes: 256 << 20, low: null, stuckMs: 0 },
  ready: true,
  waitingFor: null,
  counters: {
    recordsIn: 9,
    bytesIn: 900,
    recordsOut: 3,
    bytesOut: 300,
    journalSyncs: 4,
    journalBytes: 1000,
    kafkaConnections: 2,
  },
  journal: { segments: 2, heldBy: 16 },
  files: { found: 0, repaired: 0, rewritten: 0, damages: [], scrub: { bytesPerSecond: 0, bytes: 0, passes: 0 } },
  shards: [
    {
      shard: 16,
      topic: '<b>orders</b>',
      partition: 0,
      role: 'leader',
      recovering: false,
      term: 3,
      leader: 1,
      startOffset: 0,
      highWatermark: 9,
      endOffset: 9,
      commitIndex: 4,
      lastIndex: 4,
      journaledIndex: 4,
      storedBytes: 512,
      startMovedBy: 'request',
      startHeldBy: 'everything is kept',
      startHoldKinds: ['unlimited'],
    },
  ],
}

function sources(node: Partial<NodeStatus> = {}): HttpSources {
  const status = { ...NODE, ...node }
  const { kafka, http, peer, rack } = status
  const known = [
    { id: 1, up: true, kafka, http, peer, rack },
    { id: 2, up: true, kafka: '127.0.0.1:9093', http: '127.0.0.1:9645', peer: '127.0.0.1:7401', rack: null },
  ]
  const placements = [{ shard: 16, topic: '<b>orders</b>', partition: 0, replicas: [1, 2] }]
  return {
    nodeStatus: () => status,
    clusterStatus: async () => mergeStatus(known, [status], placements, 1),
    metrics: async () => ({
      contentType: 'text/plain; version=0.0.4; charset=utf-8',
      text: 'tidemark_records_in_total 9\n',
    }),
  }
}

type Get = (path: string, options?: RequestInit) => Promise<Response>

async function withGateway(said: HttpSources, body: (get: Get) => Promise<void>, directory = DASHBOARD): Promise<void> {
  const gateway = new HttpGateway({ listen: ANYWHERE, dashboardDirectory: directory }, said)
  const { host, port } = await gateway.start()
  try {
    await body((path, options) => fetch(`http://${host}:${port}${path}`, options))
  } finally {
    await gateway.stop()
  }
}

test('every documented path answers as documented', async () => {
  await withGateway(sources(), async (get) => {
    for (const [path, { get: operation }] of Object.entries(openApi.paths)) {
      for (const file of path.includes('{file}') ? PAGE_FILES : ['']) {
        const response = await get(path.replace('{file}', file))
        await response.arrayBuffer()
        assert.equal(response.status, 200, path)
        const documented: object = operation.responses[200]
        const type = response.headers.get('content-type')!.split(';')[0]!
        if ('content' in documented) assert.deepEqual(Object.keys(documented.content as object), [type], path)
      }
    }
  })
})

test('every route is documented', async () => {
  const gateway = new HttpGateway({ listen: ANYWHERE, dashboardDirectory: DASHBOARD }, sources())
  const served = (await gateway.routes()).map((path) => path.replace(/:(\w+)/g, '{$1}'))
  assert.deepEqual([...new Set(served)].sort(), Object.keys(openApi.paths).sort())
})

test('health: live, ready, and what is missing', async () => {
  await withGateway(sources(), async (get) => {
    assert.equal(await (await get('/health/live')).text(), 'live\n')
    assert.equal(await (await get('/health/ready')).text(), 'ready\n')
  })
  await withGateway(sources({ ready: false, waitingFor: 'shard 16 has no leader' }), async (get) => {
    assert.equal((await get('/health/live')).status, 200)
    const response = await get('/health/ready')
    assert.equal(response.status, 503)
    assert.equal(await response.text(), 'shard 16 has no leader\n')
  })
})

test('the cluster, the node and the metrics are passed on as they are', async () => {
  const said = sources()
  await withGateway(said, async (get) => {
    assert.deepEqual(await (await get('/api/node')).json(), NODE)
    assert.deepEqual(await (await get('/api/cluster')).json(), await said.clusterStatus())
    const metrics = await get('/metrics')
    assert.equal(metrics.headers.get('content-type'), 'text/plain; version=0.0.4; charset=utf-8')
    assert.equal(await metrics.text(), 'tidemark_records_in_total 9\n')
    assert.deepEqual(await (await get('/api/openapi.json')).json(), openApi)
  })
})

test('the page may run nothing but its own files', async () => {
  await withGateway(sources(), async (get) => {
    const response = await get('/')
    assert.match(
      response.headers.get('content-security-policy')!,
      /default-src 'none'; script-src 'self'; style-src 'self'/,
    )
    const page = await response.text()
    for (const [, reference] of page.matchAll(/(?:src|href)="([^"]+)"/g)) {
      if (reference!.startsWith('data:')) continue
      assert.equal((await get(`/${reference!.replace(/^\//, '')}`)).status, 200, reference)
    }
    assert.doesNotMatch(page, /<script(?![^>]*\ssrc=)|\son\w+=|\sstyle=/)
  })
})

test('every file that a script of the page imports is served', async () => {
  await withGateway(sources(), async (get) => {
    for (const file of PAGE_FILES.filter((name) => name.endsWith('.js'))) {
      const script = await (await get(`/dashboard/${file}`)).text()
      for (const [, imported] of script.matchAll(/from '\.\/([^']+)'/g))
        assert.ok(PAGE_FILES.includes(imported!), imported)
    }
  })
})

test('pages of the same cluster may read the cluster status, other pages may not', async () => {
  await withGateway(sources(), async (get) => {
    const allowed = async (origin: string) =>
      (await get('/api/cluster', { headers: { origin } })).headers.get('access-control-allow-origin')
    assert.equal(await allowed('http://127.0.0.1:9645'), 'http://127.0.0.1:9645')
    assert.equal(await allowed('http://localhost:9644'), 'http://localhost:9644')
    for (const foreign of [
      'http://example.org',
      'http://127.0.0.1:9999',
      'http://127.0.0.1.example.org:9644',
      'null',
    ]) {
      assert.equal(await allowed(foreign), null, foreign)
    }
  })
})

test('what is not there is refused in JSON', async () => {
  await withGateway(sources(), async (get) => {
    for (const path of [
      '/nothing',
      '/dashboard/../package.json',
      '/dashboard/%2e%2e%2fpackage.json',
      '/dashboard/',
      '/api/<b>',
    ]) {
      const response = await get(path)
      assert.equal(response.status, 404, path)
      assert.equal(((await response.json()) as { error: string }).error, 'NOT_FOUND')
    }
    const written = await get('/api/cluster', { method: 'POST', body: 'x' })
    assert.equal(written.status, 404)
    assert.match(written.headers.get('content-type')!, /^application\/json/)
  })
})

test('a page that was not installed is missing, and nothing else is', async () => {
  const body = async (get: Get) => {
    const response = await get('/')
    assert.equal(response.status, 404)
    assert.match(((await response.json()) as { message: string }).message, /index\.html.*not installed/)
    assert.equal((await get('/api/cluster')).status, 200)
  }
  await withGateway(sources(), body, resolve('dashboard/no-such-folder'))
})

test('a source that fails is an error in JSON, and the gateway lives on', async () => {
  const said: HttpSources = { ...sources(), clusterStatus: () => Promise.reject(new Error('stopping')) }
  await withGateway(said, async (get) => {
    const response = await get('/api/cluster')
    assert.equal(response.status, 500)
    assert.deepEqual(await response.json(), { error: 'INTERNAL', message: 'stopping' })
    assert.equal((await get('/health/live')).status, 200)
  })
})

test('a port in use is a typed error that names it, and stopping afterwards is fine', async () => {
  const other = createServer().listen(0, '127.0.0.1')
  await once(other, 'listening')
  const { port } = other.address() as AddressInfo
  const gateway = new HttpGateway({ listen: { host: '127.0.0.1', port }, dashboardDirectory: DASHBOARD }, sources())
  await assert.rejects(gateway.start(), (error) => {
    assert.ok(error instanceof HttpError)
    assert.deepEqual(error.details, { code: 'ADDRESS_IN_USE', host: '127.0.0.1', port })
    assert.match(error.message, new RegExp(`--http 127\\.0\\.0\\.1:${port}.*in use.*another port`))
    return true
  })
  await gateway.stop()
  other.close()
})

test('a host that is not here is a typed error', async () => {
  const gateway = new HttpGateway({ listen: { host: '192.0.2.1', port: 0 }, dashboardDirectory: DASHBOARD }, sources())
  await assert.rejects(gateway.start(), (error) => error instanceof HttpError && error.code === 'LISTEN_FAILED')
})

test('stopping does not wait for pages that keep their connection', async () => {
  const gateway = new HttpGateway({ listen: ANYWHERE, dashboardDirectory: DASHBOARD }, sources())
  const { port } = await gateway.start()
  await (await fetch(`http://127.0.0.1:${port}/api/cluster`)).json()
  await gateway.stop()
  await gateway.stop()
  await assert.rejects(fetch(`http://127.0.0.1:${port}/health/live`))
})
