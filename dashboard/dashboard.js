/**
 * The page: asks for the cluster's status each second (feed.js), makes a picture of it (model.js), and draws the picture
 * (views.js, charts.js). This file ties them together and owns what the person chose: pause, filter, which topics are open.
 */
import { ThroughputChart } from './charts.js'
import { element, keyed, setText, short, whole } from './elements.js'
import { Feed } from './feed.js'
import { Model } from './model.js'
import { momentsBetween } from './moments.js'
import { drawFigures, drawNodes, drawRows, drawTopics, partitionTable } from './views.js'

/** With more partitions than this, topics start closed: totals first. */
const OPEN_UP_TO_PARTITIONS = 24
const MOMENTS_KEPT = 60

class Dashboard {
  #model = new Model()
  #picture = null
  #lookedAt = null
  #through = null
  #lost = null
  #paused = false
  #filter = ''
  /** Topic name to open or closed, where the person decided. */
  #chosen = new Map()
  #moments = []
  #momentCount = 0
  #chart = new ThroughputChart(byId('chart'), byId('readout'))
  #topics = partitionTable('Topics and their partitions')
  #metadata = partitionTable('The metadata shard', 'Shard')
  #feed = new Feed({ answered: (answer) => this.#answered(answer), failed: (failure) => this.#failed(failure) })

  start() {
    byId('topics').append(this.#topics)
    this.#metadata.append(element('tbody', { role: 'rowgroup' }))
    byId('metadata').append(this.#metadata)
    byId('pause').addEventListener('click', () => this.#pause(!this.#paused))
    byId('filter').addEventListener('input', (event) => {
      this.#filter = event.target.value.trim().toLowerCase()
      this.#draw()
    })
    byId('open-all').addEventListener('click', () => this.#openAll(true))
    byId('close-all').addEventListener('click', () => this.#openAll(false))
    explainWords(byId('tip'))
    setInterval(() => this.#drawAge(), 1000)
    this.#feed.start()
  }

  #answered({ status, at, origin, own }) {
    const picture = this.#model.observe(status, at)
    for (const moment of momentsBetween(this.#picture, picture)) this.#note(moment, at)
    this.#picture = picture
    this.#lookedAt = at
    if (this.#through !== null && (this.#through.origin !== origin || this.#lost !== null))
      this.#noteReturn(origin, own, at)
    this.#through = { origin, own }
    this.#lost = null
    this.#draw()
  }

  #noteReturn(origin, own, at) {
    const host = new URL(origin).host
    if (own) this.#note({ severity: 'good', text: `The node of this page answers again` }, at)
    else if (this.#through.origin !== origin)
      this.#note({ severity: 'warn', text: `The node of this page does not answer; seen through ${host}` }, at)
  }

  #failed({ reasons }) {
    if (this.#lost === null) this.#note({ severity: 'bad', text: 'No node answers this page' }, performance.now())
    this.#lost = reasons
    this.#draw()
  }

  #note({ severity, text }, at) {
    this.#moments.unshift({ id: ++this.#momentCount, at, wall: new Date(), severity, text })
    this.#moments.length = Math.min(this.#moments.length, MOMENTS_KEPT)
  }

  #pause(paused) {
    this.#paused = paused
    this.#feed.paused = paused
    byId('pause').setAttribute('aria-pressed', String(paused))
    setText(byId('pause'), paused ? 'Resume' : 'Pause')
    this.#draw()
  }

  #openAll(open) {
    for (const topic of this.#picture?.topics ?? []) this.#chosen.set(topic.name, open)
    this.#draw()
  }

  #isOpen(topic) {
    const chosen = this.#chosen.get(topic.name)
    if (chosen !== undefined) return chosen
    const partitions = this.#picture.topics.reduce(
      (n, { internal, partitions: { length } }) => n + (internal ? 0 : length),
      0,
    )
    return !topic.internal && partitions <= OPEN_UP_TO_PARTITIONS
  }

  #draw() {
    this.#drawProblems()
    this.#drawMoments()
    this.#drawAge()
    const picture = this.#picture
    if (picture === null) return
    const now = picture.at
    setText(byId('cluster'), picture.cluster ?? 'being formed')
    byId('cluster').title = picture.cluster ?? ''
    setText(byId('controller'), picture.controller === null ? 'none' : `node ${picture.controller}`)
    setText(byId('through'), new URL(this.#through.origin).host)
    document.title = this.#title(picture)
    drawFigures(byId('figures'), picture.totals, now)
    this.#chart.update(picture.totals, this.#moments, now)
    setText(byId('summary'), summaryOf(picture))
    drawNodes(byId('nodes'), picture, now)
    this.#drawTopics(picture, now)
    const ceiling = picture.metadata.reduce((most, row) => Math.max(most, row.endOffset), 0)
    drawRows(this.#metadata.querySelector('tbody'), picture.metadata, ceiling, now)
  }

  #drawTopics(picture, now) {
    const shown = picture.topics.filter((topic) => topic.name.toLowerCase().includes(this.#filter))
    const choices = {
      isOpen: (topic) => this.#isOpen(topic),
      toggle: (name) => {
        const topic = this.#picture.topics.find((candidate) => candidate.name === name)
        if (topic !== undefined) this.#chosen.set(name, !this.#isOpen(topic))
        this.#draw()
      },
    }
    drawTopics(this.#topics, shown, choices, now)
    this.#topics.hidden = shown.length === 0
    const none = byId('no-topics')
    none.hidden = shown.length > 0
    const empty =
      'There are no topics yet. The first client that writes to one creates it, or: tidemark topic create orders'
    setText(none, picture.topics.length === 0 ? empty : 'No topic has this in its name.')
    const partitions = picture.topics.reduce((n, topic) => n + topic.partitions.length, 0)
    const hidden = picture.topics.length - shown.length
    setText(
      byId('topics-count'),
      `${whole(picture.topics.length)} with ${whole(partitions)} partitions${hidden > 0 ? `, ${whole(hidden)} filtered out` : ''}`,
    )
  }

  #title(picture) {
    const bad = this.#lost !== null || picture.problems.some(({ severity }) => severity === 'bad')
    return `${bad ? '⚠ ' : ''}Tidemark · ${short(picture.totals.rates.recordsIn)}/s in`
  }

  #drawProblems() {
    const problems = [...this.#ownProblems(), ...(this.#picture?.problems ?? [])]
    if (problems.length === 0) problems.push({ key: 'fine', severity: 'good', text: allIsWell(this.#picture) })
    keyed(
      byId('problems'),
      problems,
      (problem) => problem.key,
      () => element('p'),
      (made, { severity, text }) => {
        made.className = `problem ${severity}`
        setText(made, text)
      },
    )
    document.body.classList.toggle('stale', this.#lost !== null)
    document.body.classList.toggle('paused', this.#paused)
  }

  /** What is wrong with the page's own view. */
  #ownProblems() {
    if (this.#paused) return [{ key: 'paused', severity: 'warn', text: 'Paused: the figures stand still.' }]
    if (this.#lost !== null) {
      const since = this.#picture === null ? 'This page has no figures yet' : 'The figures below are old'
      return [
        {
          key: 'lost',
          severity: 'bad',
          text: `No node answers. ${since}; the page keeps trying (${this.#lost.join('; ')}).`,
        },
      ]
    }
    if (this.#picture === null) return [{ key: 'first', severity: 'good', text: 'Asking the node …' }]
    if (this.#through.own) return []
    const text = `The node that served this page (${location.host}) does not answer. Seen through ${new URL(this.#through.origin).host} until it is back.`
    return [{ key: 'elsewhere', severity: 'warn', text }]
  }

  #drawMoments() {
    byId('no-moments').hidden = this.#moments.length > 0
    keyed(
      byId('moments'),
      this.#moments,
      (moment) => moment.id,
      ({ wall, severity, text }) => {
        const time = element('time', { datetime: wall.toISOString() }, wall.toLocaleTimeString('en-GB'))
        return element('li', { class: severity }, time, element('span', {}, text))
      },
      () => {},
    )
  }

  #drawAge() {
    if (this.#lookedAt === null) return
    const seconds = Math.floor((performance.now() - this.#lookedAt) / 1000)
    const age = byId('age')
    setText(age, this.#paused ? `paused, ${seconds} s ago` : seconds < 2 ? 'now' : `${whole(seconds)} s ago`)
    age.className = this.#paused ? 'paused' : seconds < 4 && this.#lost === null ? 'live' : 'old'
  }
}

function summaryOf({ totals }) {
  const perSync = totals.recordsPerSync === null ? '' : ` · ${short(totals.recordsPerSync)} records per journal sync`
  return `${whole(totals.held)} records held · ${whole(totals.inFlight)} in flight · ${whole(totals.connections)} client connections${perSync}`
}

function allIsWell({ nodes, topics }) {
  const partitions = topics.reduce((n, topic) => n + topic.partitions.length, 0)
  if (partitions === 0)
    return `All is well: ${nodes.length === 1 ? 'the node is' : `all ${nodes.length} nodes are`} up.`
  return `All is well: ${nodes.length === 1 ? 'the node is' : `all ${nodes.length} nodes are`} up, every partition has a leader, and every replica keeps up.`
}

/** One tooltip for all words; their texts are those of the list at the end of the page. */
function explainWords(tip) {
  let shownFor = null
  const hide = () => {
    shownFor?.removeAttribute('aria-describedby')
    shownFor = null
    tip.hidden = true
  }
  const place = () => {
    if (shownFor === null) return
    const at = shownFor.getBoundingClientRect()
    const left = Math.max(8, Math.min(at.left, innerWidth - tip.offsetWidth - 8))
    const below = at.bottom + 6 + tip.offsetHeight < innerHeight
    tip.style.left = `${left}px`
    tip.style.top = `${below ? at.bottom + 6 : at.top - tip.offsetHeight - 6}px`
  }
  const show = (target) => {
    const explained = document.getElementById(`word-${target.dataset.word}`)
    if (explained === null || shownFor === target) return
    hide()
    shownFor = target
    const text = explained.nextElementSibling.textContent
    tip.replaceChildren(element('b', {}, explained.textContent), element('span', {}, text))
    tip.hidden = false
    target.setAttribute('aria-describedby', 'tip')
    place()
  }
  const wordOf = (event) => (event.target instanceof Element ? event.target.closest('[data-word]') : null)
  for (const type of ['pointerover', 'focusin', 'click']) {
    document.addEventListener(type, (event) => {
      const target = wordOf(event)
      if (target !== null) show(target)
      // Scrolling to what has the focus moves other things under a pointer that rests.
      else if (type !== 'pointerover' || shownFor !== document.activeElement) hide()
    })
  }
  document.addEventListener('keydown', (event) => event.key === 'Escape' && hide())
  addEventListener('scroll', place, { passive: true })
}

function byId(id) {
  return document.getElementById(id)
}

new Dashboard().start()
