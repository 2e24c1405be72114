import assert from 'node:assert/strict'
import { test } from 'node:test'
import { MemoryNetwork } from '../platform/memory/index.ts'
import { nodePlatform } from '../platform/nodejs/index.ts'
import { record } from './cluster-testing.ts'
import type { SelfDescription } from './handshake.ts'
import { type ClusterDescription, Newcomer, welcomeNewcomers } from './join.ts'
import { TestNode } from './peer-harness.test.ts'

function at(id: number): { host: string; port: number } {
  return { host: `n${id}`, port: 7000 + id }
}

function world(): (id: number, self: Partial<SelfDescription>) => TestNode {
  const { clock, random } = nodePlatform()
  const net = new MemoryNetwork({}, { clock, random })
  return (id, self) =>
    new TestNode(id, { network: net.host(`n${id}`), listen: at(id), self: { peer: at(id), ...self } })
}

/** Members 1 and 3, which know each other and the cluster. */
async function members(
  start: (id: number, self: Partial<SelfDescription>) => TestNode,
  id: string | null,
): Promise<TestNode[]> {
  const both = [start(1, { clusterId: id }), start(3, { clusterId: id })]
  const nodes = [1, 3].map((node) => ({ ...record(node), peer: at(node), up: true }))
  for (const member of both) {
    await member.start()
    for (const { id: other } of nodes) if (other !== member.id) member.mesh.setPeer(other, at(other))
    welcomeNewcomers({ clusterId: id, nodes: () => nodes }, [1, 3], member.mesh)
  }
  return both
}

test('a newcomer that knows one address has a session with everybody, whichever side has to dial', async () => {
  for (const seed of [1, 3]) {
    const start = world()
    const both = await members(start, 'c1')
    const newcomer = start(2, { clusterId: null, clusterHash: '' })
    await newcomer.start()
    const description = await new Promise<ClusterDescription>((resolve) => {
      new Newcomer(2, at(seed), newcomer.platform.clock, newcomer.mesh, () => {}, resolve).start()
    })
    assert.equal(description.clusterId, 'c1')
    assert.deepEqual(description.voters, [1, 3])
    await newcomer.until(() => newcomer.mesh.isUp(1) && newcomer.mesh.isUp(3))
    for (const node of [...both, newcomer]) await node.stop()
  }
})

test('where there is no cluster yet the newcomer says why it waits, and stops when told', async () => {
  const start = world()
  const both = await members(start, null)
  const newcomer = start(2, { clusterId: null, clusterHash: '' })
  await newcomer.start()
  const reason = await new Promise<string>((resolve) => {
    const joining: Newcomer = new Newcomer(
      2,
      at(1),
      newcomer.platform.clock,
      newcomer.mesh,
      (why) => {
        if (!why.includes('belongs to no cluster yet')) return
        joining.stop()
        resolve(why)
      },
      () => assert.fail('there is nothing to join'),
    )
    joining.start()
  })
  assert.match(reason, /node 1 belongs to no cluster yet/)
  for (const node of [...both, newcomer]) await node.stop()
})
