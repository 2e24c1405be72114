/** The parts of the page that repeat: figures, nodes, and the table of partitions. Each is made once and then updated. */
import { drawMarksBar, drawSparkline, drawStateStrip, marksBar, sparkline, stateStrip } from './charts.js'
import { bytes, duration, element, keyed, setAttribute, setText, short, whole } from './elements.js'
import { isHere, nodeOrigin } from './feed.js'

/** A label that explains itself when it is pointed at, focused or touched; the texts are the page's list of words. */
export function word(name, label) {
  return element('button', { type: 'button', class: 'word', 'data-word': name }, label)
}

const FIGURES = [
  {
    word: 'records-in',
    label: 'Records in',
    rate: 'recordsIn',
    value: (t) => short(t.rates.recordsIn),
    unit: '/s',
    tone: 'in',
  },
  {
    word: 'records-out',
    label: 'Records out',
    rate: 'recordsOut',
    value: (t) => short(t.rates.recordsOut),
    unit: '/s',
    tone: 'out',
  },
  {
    word: 'bytes-in',
    label: 'Bytes in',
    rate: 'bytesIn',
    value: (t) => bytes(t.rates.bytesIn),
    unit: '/s',
    tone: 'in',
  },
  {
    word: 'bytes-out',
    label: 'Bytes out',
    rate: 'bytesOut',
    value: (t) => bytes(t.rates.bytesOut),
    unit: '/s',
    tone: 'out',
  },
  {
    word: 'journal-syncs',
    label: 'Journal syncs',
    rate: 'journalSyncs',
    value: (t) => short(t.rates.journalSyncs),
    unit: '/s',
    tone: 'disk',
  },
  {
    word: 'journal-bytes',
    label: 'Journal writes',
    rate: 'journalBytes',
    value: (t) => bytes(t.rates.journalBytes),
    unit: '/s',
    tone: 'disk',
  },
]

export function drawFigures(parent, totals, now) {
  keyed(
    parent,
    FIGURES,
    (figure) => figure.word,
    (figure) =>
      element(
        'div',
        { class: `figure ${figure.tone}` },
        element('dt', {}, word(figure.word, figure.label)),
        element('dd', {}, element('b'), element('span', { class: 'unit' }, figure.unit)),
        sparkline(),
      ),
    (made, figure) => {
      setText(made.querySelector('b'), figure.value(totals))
      drawSparkline(made.querySelector('svg'), totals.history[figure.rate], now)
    },
  )
}

const NODE_LINES = [
  { rate: 'recordsIn', word: 'records-in', label: 'Records in', show: (n) => `${short(n)}/s`, tone: 'in' },
  { rate: 'recordsOut', word: 'records-out', label: 'Records out', show: (n) => `${short(n)}/s`, tone: 'out' },
  { rate: 'journalSyncs', word: 'journal-syncs', label: 'Journal syncs', show: (n) => `${short(n)}/s`, tone: 'disk' },
  { rate: 'journalBytes', word: 'journal-bytes', label: 'Journal writes', show: (n) => `${bytes(n)}/s`, tone: 'disk' },
]
const NODE_STATES = { up: 'up', silent: 'no answer', down: 'down' }
const NODE_FACTS = ['Kafka', 'HTTP', 'Peers', 'Rack', 'Uptime', 'Memory', 'Clients', 'Disk']

/** `controller` and the highest rate of all nodes, so that their lines can be compared. */
export function drawNodes(parent, picture, now) {
  const most = Object.fromEntries(
    NODE_LINES.map(({ rate }) => [rate, Math.max(...picture.nodes.map((node) => node.history[rate].max))]),
  )
  const leads = picture.nodes.reduce((total, node) => total + node.leads, 0)
  keyed(
    parent,
    picture.nodes,
    (node) => node.node,
    makeNode,
    (card, node) => {
      card.className = `node ${node.state}`
      setText(card.querySelector('.state'), NODE_STATES[node.state])
      const origin = nodeOrigin(node.http)
      const tags = [
        node.node === picture.controller ? 'controller' : '',
        origin !== null && isHere(origin) ? 'this page' : '',
      ]
      setText(card.querySelector('.tags'), tags.filter((tag) => tag !== '').join(' · '))
      drawNodeFacts(card, node, origin)
      const share = leads === 0 ? 0 : (100 * node.leads) / leads
      setText(card.querySelector('.leads b'), `${whole(node.leads)}`)
      setText(
        card.querySelector('.leads .of'),
        ` of ${whole(node.replicas)} ${node.replicas === 1 ? 'replica' : 'replicas'}`,
      )
      card.querySelector('.leads i').style.width = `${share}%`
      for (const [i, line] of NODE_LINES.entries()) {
        const row = card.querySelector('.lines').children[i]
        setText(row.querySelector('dd'), node.rates === null ? '–' : line.show(node.rates[line.rate]))
        drawSparkline(row.querySelector('svg'), node.history[line.rate], now, most[line.rate])
      }
    },
  )
}

function makeNode(node) {
  const line = ({ word: name, label, tone }) =>
    element('div', { class: `line ${tone}` }, element('dt', { 'data-word': name }, label), sparkline(), element('dd'))
  return element(
    'article',
    { 'aria-label': `Node ${node.node}` },
    element(
      'header',
      {},
      element('h3', {}, `Node ${node.node}`),
      element('span', { class: 'tags' }),
      element('span', { class: 'state' }),
    ),
    element(
      'dl',
      { class: 'facts' },
      ...NODE_FACTS.map((name) => element('div', {}, element('dt', {}, name), element('dd'))),
    ),
    element(
      'p',
      { class: 'leads' },
      element('span', {}, 'Leads ', element('b'), element('span', { class: 'of' })),
      element('span', { class: 'track', 'aria-hidden': 'true' }, element('i')),
    ),
    element('dl', { class: 'lines' }, ...NODE_LINES.map(line)),
  )
}

function drawNodeFacts(card, node, origin) {
  const [kafka, http, peers, rack, uptime, memory, clients, disk] = card.querySelectorAll('.facts dd')
  setText(kafka, node.kafka)
  setText(peers, node.peer)
  setText(rack, node.rack ?? '–')
  setText(uptime, duration(node.uptimeMs))
  setText(memory, bytes(node.memoryBytes))
  setText(clients, whole(node.counters?.kafkaConnections))
  const free = node.disk?.freeBytes ?? null
  setText(disk, free === null ? '–' : `${bytes(free)} free`)
  setAttribute(disk, 'class', node.disk?.low || node.disk?.stuckMs > 0 ? 'bad' : null)
  setAttribute(disk, 'title', free === null ? null : `Below ${bytes(node.disk.reserveBytes)} records are refused.`)
  if (origin === null) return setText(http, node.http ?? '–')
  if (http.firstElementChild === null) http.append(element('a', { href: origin }))
  setAttribute(http.firstElementChild, 'href', origin)
  setText(http.firstElementChild, node.http)
}

const COLUMNS = [
  { name: 'partition', word: 'partition', label: 'Partition' },
  { name: 'leader', word: 'leader', label: 'Leader' },
  { name: 'term', word: 'term', label: 'Term' },
  { name: 'marks', word: 'marks', label: 'Low to high to end' },
  { name: 'low', word: 'low-water', label: 'Low-water' },
  { name: 'high', word: 'high-water', label: 'High-water' },
  { name: 'flight', word: 'in-flight', label: 'In flight' },
  { name: 'rate', word: 'rate', label: 'Records/s' },
  { name: 'trend', word: null, label: 'Two minutes' },
  { name: 'replicas', word: 'replicas', label: 'Replicas' },
]

/** With more bars than this, they jump from look to look. */
const MOVING_BARS = 48

/** Roles are said, because the narrow layout takes the table's display away, and with it what a browser derives from it. */
export function partitionTable(caption, subject = word('partition', 'Partition')) {
  const heads = COLUMNS.map(({ name, word: explained, label }) =>
    element(
      'th',
      { class: name, scope: 'col', role: 'columnheader' },
      explained === null ? label : name === 'partition' ? subject : word(explained, label),
    ),
  )
  return element(
    'table',
    { class: 'partitions', role: 'table' },
    element('caption', { class: 'unseen' }, caption),
    element('thead', { role: 'rowgroup' }, element('tr', { role: 'row' }, ...heads)),
  )
}

function cells(header, tag = 'td') {
  return COLUMNS.map(({ name, label }, i) =>
    i === 0 ? header : element(tag, { class: name, role: 'cell', 'data-label': label }),
  )
}

/** `ceiling`: what the bars of the rows are scaled to; the first `fixed` rows of the body are something else. */
export function drawRows(body, rows, ceiling, now, fixed = 0) {
  const update = (made, row) => {
    const cell = cellsOf(made)
    setAttribute(made, 'class', `partition-row ${row.state}`)
    setText(cell('leader').firstChild, row.leader === null ? 'none' : `node ${row.leader}`)
    setText(cell('term'), whole(row.term))
    setText(cell('low'), whole(row.startOffset))
    setText(cell('high'), whole(row.highWatermark))
    setText(cell('flight'), row.inFlight > 0 ? `+${whole(row.inFlight)}` : '0')
    setText(cell('rate'), short(row.rate))
    drawMarksBar(cell('marks').firstChild, row, ceiling)
    drawSparkline(cell('trend').firstChild, row.series, now)
    drawReplicas(cell('replicas').firstChild, row.replicas)
  }
  keyed(body, rows, (row) => row.shard, makeRow, update, fixed)
}

function makeRow(row) {
  const name = row.topic === null ? 'metadata' : String(row.partition)
  const made = element(
    'tr',
    { role: 'row' },
    ...cells(
      element(
        'th',
        {
          class: 'partition',
          scope: 'row',
          role: 'rowheader',
          'data-label': row.topic === null ? 'Shard' : 'Partition',
        },
        name,
      ),
    ),
  )
  const cell = cellsOf(made)
  cell('leader').append(element('span', { class: 'chip' }))
  cell('marks').append(marksBar())
  cell('trend').append(sparkline())
  cell('replicas').append(element('ul', { class: 'replicas' }))
  return made
}

function cellsOf(row) {
  return (name) => row.children[COLUMNS.findIndex((column) => column.name === name)]
}

const REPLICA_WORDS = {
  leader: () => 'leads',
  ok: ({ lag }) => (lag === null ? 'keeps up' : `keeps up, ${whole(lag)} entries on their way`),
  behind: ({ lag }) => (lag === null ? 'is behind' : `is behind by ${whole(lag)} entries`),
  unknown: () => 'did not answer',
  down: () => 'is down',
}

function drawReplicas(list, replicas) {
  keyed(
    list,
    replicas,
    (replica) => replica.node,
    () => element('li', {}, element('b'), element('span')),
    (item, replica) => {
      setAttribute(item, 'class', replica.state)
      setText(item.firstChild, String(replica.node))
      const lag = replica.state === 'behind' && replica.lag !== null ? ` −${short(replica.lag)}` : ''
      setText(item.lastChild, replica.state === 'down' ? ' down' : replica.state === 'unknown' ? ' ?' : lag)
      const journal =
        replica.journaledIndex === null ? '' : `; its journal reaches index ${whole(replica.journaledIndex)}`
      setAttribute(
        item,
        'title',
        `Node ${replica.node} (${replica.role}) ${REPLICA_WORDS[replica.state](replica)}${journal}`,
      )
    },
  )
}

/**
 * A topic is a body of the table: one row of totals, which opens, and its partitions.
 */
export function drawTopics(table, topics, { isOpen, toggle }, now) {
  const captionAndHead = 2
  const create = (topic) => makeTopic(topic, toggle)
  const update = (body, topic) => {
    const open = isOpen(topic)
    const head = body.firstElementChild
    const cell = cellsOf(head)
    const button = head.querySelector('button')
    setAttribute(button, 'aria-expanded', String(open))
    const count = topic.partitions.length === 1 ? '1 partition' : `${whole(topic.partitions.length)} partitions`
    setText(head.querySelector('.count'), count)
    setText(cell('leader'), topic.leaders.size === 1 ? '1 node' : `${topic.leaders.size} nodes`)
    drawStateStrip(cell('marks').firstChild, topic.partitions)
    setText(cell('low'), whole(topic.startOffset))
    setText(cell('high'), whole(topic.highWatermark))
    setText(cell('flight'), topic.inFlight > 0 ? `+${whole(topic.inFlight)}` : '0')
    setText(cell('rate'), short(topic.rate))
    drawSparkline(cell('trend').firstChild, topic.series, now)
    drawTopicState(cell('replicas').firstChild, topic)
    drawRows(body, open ? topic.partitions : [], topic.ceiling, now, 1)
  }
  keyed(table, topics, (topic) => topic.name, create, update, captionAndHead)
  table.classList.toggle('still', table.querySelectorAll('.bar').length > MOVING_BARS)
}

function makeTopic(topic, toggle) {
  const button = element(
    'button',
    { type: 'button', title: topic.name },
    element('span', { class: 'name' }, topic.name),
    element('span', { class: 'count' }),
  )
  button.addEventListener('click', () => toggle(topic.name))
  const header = element('th', { class: 'partition', scope: 'rowgroup', role: 'rowheader' }, button)
  const head = element('tr', { class: 'topic-row', role: 'row' }, ...cells(header))
  const cell = cellsOf(head)
  cell('marks').append(stateStrip())
  cell('trend').append(sparkline())
  cell('replicas').append(element('span', { class: 'verdict' }))
  return element('tbody', { role: 'rowgroup', class: topic.internal ? 'internal' : '' }, head)
}

/** The worst in short; all of it when pointed at. */
function drawTopicState(badge, { leaderless, degraded }) {
  const parts = []
  if (leaderless > 0) parts.push(`${leaderless} leaderless`)
  if (degraded > 0) parts.push(`${degraded} under-replicated`)
  setAttribute(badge, 'class', `verdict ${leaderless > 0 ? 'bad' : degraded > 0 ? 'warn' : 'good'}`)
  setAttribute(badge, 'title', parts.length === 0 ? null : parts.join(', '))
  setText(badge, parts[0] ?? 'all in step')
}
