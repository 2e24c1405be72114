/**
 * Asks for the cluster's status again and again, and does not give up when a node dies: the page was served by one node, but
 * the answer names the others, and each of them can describe the whole cluster. The own node is asked first, always, so the
 * page returns to it when it is back. Only the nodes of the same cluster are listened to.
 *
 * One question at a time. A hidden page asks rarely.
 */
const INTERVAL_MS = 1000
const HIDDEN_INTERVAL_MS = 10_000
const PATIENCE_MS = 2500
/** After a failure an address is left alone for so long, so that a dead node does not slow down every look. */
const REST_MS = 4000

export class Feed {
  #answered
  #failed
  #neighbours = []
  #cluster = null
  #restUntil = new Map()
  #timer = 0
  #asking = false
  #paused = false

  /**
   * `answered({ status, at, origin, own })` for each answer; `failed({ reason })` when no node answered.
   */
  constructor({ answered, failed }) {
    this.#answered = answered
    this.#failed = failed
    document.addEventListener('visibilitychange', () => this.#hasten())
    addEventListener('online', () => this.#hasten())
  }

  start() {
    this.#hasten()
  }

  set paused(paused) {
    this.#paused = paused
    this.#hasten()
  }

  #hasten() {
    clearTimeout(this.#timer)
    if (!this.#paused && !this.#asking) this.#look()
  }

  async #look() {
    this.#asking = true
    const startedAt = performance.now()
    const reasons = []
    let found = false
    for (const origin of this.#candidates()) {
      try {
        const status = await ask(origin)
        if (this.#cluster !== null && origin !== location.origin && status.cluster !== this.#cluster) {
          throw new Error('it belongs to another cluster')
        }
        this.#restUntil.delete(origin)
        this.#learn(status, origin)
        this.#answered({ status, at: performance.now(), origin, own: origin === location.origin })
        found = true
        break
      } catch (error) {
        this.#restUntil.set(origin, performance.now() + REST_MS)
        reasons.push(`${new URL(origin).host}: ${error.name === 'TimeoutError' ? 'no answer in time' : error.message}`)
      }
    }
    this.#asking = false
    if (!found) this.#failed({ reasons })
    if (this.#paused) return
    const interval = document.hidden ? HIDDEN_INTERVAL_MS : INTERVAL_MS
    this.#timer = setTimeout(() => this.#look(), Math.max(100, interval - (performance.now() - startedAt)))
  }

  /** Those that rest are asked too if nobody else is left. */
  #candidates() {
    const all = [location.origin, ...this.#neighbours]
    const awake = all.filter((origin) => (this.#restUntil.get(origin) ?? 0) <= performance.now())
    return awake.length > 0 ? awake : all
  }

  #learn(status, origin) {
    if (origin === location.origin || this.#cluster === null) this.#cluster = status.cluster
    this.#neighbours = [...status.nodes]
      .sort((a, b) => Number(b.up) - Number(a.up))
      .map((node) => nodeOrigin(node.http))
      .filter((at) => at !== null && !isHere(at))
  }
}

/** The address under which this page can reach a node: a wildcard stands for the host that the page came from. */
export function nodeOrigin(http) {
  if (http === null || http === undefined) return null
  const address = http.replace(/^(?:0\.0\.0\.0|\[?::\]?)(?=:\d+$)/, location.hostname)
  return URL.canParse(`http://${address}`) ? new URL(`http://${address}`).origin : null
}

export function isHere(origin) {
  const plain = (host) => host.replace(/^(?:localhost|127\.0\.0\.1|\[::1\])(?=:|$)/, 'loopback')
  return plain(new URL(origin).host) === plain(location.host)
}

async function ask(origin) {
  const response = await fetch(`${origin}/api/cluster`, { cache: 'no-store', signal: AbortSignal.timeout(PATIENCE_MS) })
  if (!response.ok) throw new Error(`it answered ${response.status}`)
  const status = await response.json()
  if (!Array.isArray(status?.nodes) || !Array.isArray(status?.shards))
    throw new Error('its answer is no cluster status')
  return status
}
