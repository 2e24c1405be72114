#!/usr/bin/env node
/** Looks at the page of a living cluster in a real browser: three nodes, a topic, some records. Skips loudly without Chromium. */
import fs from 'node:fs'
import os from 'node:os'
import path from 'node:path'
import { RawClient } from '../bench/raw-client.ts'
import { DevCluster } from '../src/cli/dev-cluster.ts'
import { apis } from '../src/gateways/kafka/index.ts'
import { checkPage, findChromium } from './page.ts'

const chromium = findChromium()
if (chromium === null) {
  console.log('page: NOT CHECKED, no Chromium on this machine (CHROMIUM names one)')
  process.exit(0)
}
const directory = fs.mkdtempSync(path.join(os.tmpdir(), 'tidemark-page-'))
const cluster = new DevCluster({ nodes: 3, directory, basePort: 28_092 })
try {
  cluster.startAll()
  await cluster.ready()
  const client = await RawClient.connect(cluster.kafka(1))
  const topic = { name: 'orders', numPartitions: 6, replicationFactor: 3, assignments: [], configs: [] }
  await client.request(apis.createTopics, 5, { topics: [topic], timeoutMs: 5000 })
  client.close()
  const defects = await checkPage(cluster.http(1), chromium)
  for (const defect of defects) console.log(`page: ${defect}`)
  console.log(`page: ${defects.length} defects`)
  process.exitCode = defects.length === 0 ? 0 : 1
} finally {
  await cluster.stopAll()
  fs.rmSync(directory, { recursive: true, force: true })
}
