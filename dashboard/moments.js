/**
 * What happened while the page was open: differences between two pictures, in words. Many partitions change their leader at
 * the same moment when a node dies, so changes of the same kind are one line.
 */
import { listed, shardName } from './model.js'

/** `before` and `after` are pictures of Model.observe; returns `{ severity, text }`, worst first. */
export function momentsBetween(before, after) {
  if (before === null || before.cluster !== after.cluster) return []
  return [...nodeMoments(before, after), ...leaderMoments(before, after), ...topicMoments(before, after)]
}

function nodeMoments(before, after) {
  const moments = []
  const earlier = new Map(before.nodes.map((node) => [node.node, node]))
  for (const node of after.nodes) {
    const was = earlier.get(node.node)
    const name = `Node ${node.node}`
    if (was === undefined) moments.push({ severity: 'good', text: `${name} joined` })
    else if (was.up && !node.up) moments.push({ severity: 'bad', text: `${name} went down` })
    else if (!was.up && node.up) moments.push({ severity: 'good', text: `${name} is back` })
    else if (was.uptimeMs !== null && node.uptimeMs !== null && node.uptimeMs < was.uptimeMs) {
      moments.push({ severity: 'warn', text: `${name} was restarted` })
    }
  }
  for (const id of earlier.keys()) {
    if (!after.nodes.some((node) => node.node === id))
      moments.push({ severity: 'warn', text: `Node ${id} was removed` })
  }
  return moments
}

function leaderMoments(before, after) {
  const earlier = new Map(rowsOf(before).map((row) => [row.shard, row]))
  const moved = new Map()
  for (const row of rowsOf(after)) {
    const was = earlier.get(row.shard)
    if (was === undefined || was.leader === row.leader) continue
    const kind = `${was.leader} ${row.leader}`
    if (!moved.has(kind)) moved.set(kind, { from: was.leader, to: row.leader, rows: [] })
    moved.get(kind).rows.push(row)
  }
  return [...moved.values()].map(({ from, to, rows }) => {
    const names = listed(rows.map(shardName))
    if (to === null) return { severity: 'bad', text: `Node ${from} no longer leads ${names}: no leader` }
    const term = rows.length === 1 ? ` (term ${rows[0].term})` : ''
    if (from === null) return { severity: 'good', text: `Node ${to} was elected for ${names}${term}` }
    return { severity: 'warn', text: `Leadership of ${names} went from node ${from} to node ${to}${term}` }
  })
}

function topicMoments(before, after) {
  const names = (picture) => picture.topics.map((topic) => topic.name)
  const had = new Set(names(before))
  const has = new Set(names(after))
  const created = [...has].filter((name) => !had.has(name))
  const deleted = [...had].filter((name) => !has.has(name))
  const moments = []
  if (created.length > 0) moments.push({ severity: 'good', text: `Created: ${listed(created)}` })
  if (deleted.length > 0) moments.push({ severity: 'warn', text: `Deleted: ${listed(deleted)}` })
  return moments
}

function rowsOf(picture) {
  return [...picture.metadata, ...picture.topics.flatMap((topic) => topic.partitions)]
}
