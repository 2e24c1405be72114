import assert from 'node:assert/strict'
import test from 'node:test'
import { ClusterDisks } from './cluster-disks.ts'

type Mesh = ConstructorParameters<typeof ClusterDisks>[1]

/** Nodes whose sessions are made and ended by the test; what one tells another arrives when the test says so. */
class Nodes {
  readonly #disks = new Map<number, ClusterDisks>()
  readonly #handlers = new Map<number, (from: number, body: Buffer) => void>()
  readonly #up = new Set<string>()
  #onTheWay: (() => void)[] = []
  changes = 0

  disks(id: number): ClusterDisks {
    let disks = this.#disks.get(id)
    if (disks !== undefined) return disks
    const mesh: Mesh = {
      attach: () => {},
      handle: (_method, handler) => {
        this.#handlers.set(id, (from, body) => handler(from, body, () => {}))
      },
      request: (node, _method, body) => {
        this.#onTheWay.push(() => this.#handlers.get(node)?.(id, Buffer.from(body)))
      },
      peersUp: () => [...this.#disks.keys()].filter((node) => this.#up.has(`${id} ${node}`)).values(),
    }
    disks = new ClusterDisks(id, mesh, () => this.changes++)
    this.#disks.set(id, disks)
    return disks
  }

  meet(a: number, b: number): void {
    this.#up.add(`${a} ${b}`).add(`${b} ${a}`)
    this.disks(a).peerUp(b)
    this.disks(b).peerUp(a)
    this.arrive()
  }

  arrive(): void {
    for (const deliver of this.#onTheWay.splice(0)) deliver()
  }

  part(a: number, b: number): void {
    this.#up.delete(`${a} ${b}`)
    this.#up.delete(`${b} ${a}`)
    this.disks(a).peerDown(b)
    this.disks(b).peerDown(a)
  }
}

test('what a node says of its disk holds for the session; until it says so, nothing is known', () => {
  const nodes = new Nodes()
  const [one, two] = [nodes.disks(1), nodes.disks(2)]
  one.own(null, false)
  nodes.meet(1, 2)
  assert.deepEqual([one.mayBeLow(2), one.isLow(2), one.isWell(2), one.allWell], [true, false, true, false])
  const before = nodes.changes
  two.own('node 2 is low', false)
  nodes.arrive()
  assert.deepEqual([one.mayBeLow(2), one.isLow(2), one.isWell(2), one.allWell], [true, true, false, false])
  two.own(null, false)
  nodes.arrive()
  assert.deepEqual([one.mayBeLow(2), one.isLow(2), one.isWell(2), one.allWell], [false, false, true, true])
  assert.equal(nodes.changes - before, 4, 'each change was told to both')

  two.own('node 2 is low', false)
  nodes.arrive()
  nodes.part(1, 2)
  assert.equal(one.isLow(2), true, 'what was said last')
  nodes.meet(1, 2)
  assert.deepEqual([one.mayBeLow(2), one.isLow(2)], [true, true])
})

test('that all is well is news, too: somebody waits to hear it', () => {
  const nodes = new Nodes()
  const [one, two] = [nodes.disks(1), nodes.disks(2)]
  nodes.meet(1, 2)
  assert.deepEqual([one.allWell, two.allWell], [false, false])
  const before = nodes.changes
  one.own(null, false)
  two.own(null, false)
  nodes.arrive()
  assert.ok(nodes.changes >= before + 2)
  assert.deepEqual([one.allWell, two.allWell, one.mayBeLow(2), two.mayBeLow(1)], [true, true, false, false])
  nodes.part(1, 2)
  nodes.meet(1, 2)
  assert.deepEqual([one.allWell, two.mayBeLow(1)], [true, false])
})
