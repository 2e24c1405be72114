import assert from 'node:assert/strict'
import test from 'node:test'
import {
  environmentVariableOf,
  formatAddress,
  OptionError,
  parseAddress,
  parseNodeOptions,
  type RawSettings,
  SETTINGS,
  settingsFromEnvironment,
  settingsFromFile,
} from './node-options.ts'

function refused(raw: RawSettings, option: string, what: RegExp): void {
  assert.throws(
    () => parseNodeOptions(raw),
    (error) => {
      assert.ok(error instanceof OptionError, `${JSON.stringify(raw)}: ${error}`)
      assert.equal(error.details.option, option)
      assert.match(error.message, what)
      assert.match(error.message, new RegExp(`^--${option} `), 'the line begins with the option')
      assert.doesNotMatch(error.message, /\n/)
      return true
    },
  )
}

test('without any settings: one node on the loopback interface, at the documented addresses', () => {
  const options = parseNodeOptions({})
  assert.deepEqual(options, {
    id: 1,
    data: './tidemark-data',
    kafka: { host: '127.0.0.1', port: 9092 },
    http: { host: '127.0.0.1', port: 9644 },
    peer: { host: '127.0.0.1', port: 7400 },
    cluster: [],
    advertiseKafka: null,
    advertisePeer: null,
    rack: null,
    allowInsecure: false,
    defaultPartitions: 4,
    groupInitialRebalanceDelayMs: 300,
    diskReserveBytes: null,
    diskStuckMs: 700,
    scrubBytesPerSecond: 4_194_304,
    cleaningBytesPerSecond: 16_777_216,
  })
})

test('numbers are whole and in their range', () => {
  for (const id of ['0', '-1', '65536', '1.5', 'one', '', ' 1', '1e3', '0x10', '99999999999999999999'])
    refused({ id }, 'id', /must be a whole number from 1 to 65535/)
  refused({ 'default-partitions': '0' }, 'default-partitions', /from 1 to 10000/)
  refused({ 'scrub-bytes-per-second': '1e6' }, 'scrub-bytes-per-second', /from 0/)
  refused({ 'cleaning-bytes-per-second': '-1' }, 'cleaning-bytes-per-second', /from 0/)
  refused({ 'group-initial-rebalance-delay-ms': '-5' }, 'group-initial-rebalance-delay-ms', /from 0/)
  assert.equal(parseNodeOptions({ id: '65535' }).id, 65_535)
  assert.equal(parseNodeOptions({ 'group-initial-rebalance-delay-ms': '0' }).groupInitialRebalanceDelayMs, 0)
})

test('addresses are HOST:PORT, IPv6 in brackets', () => {
  for (const option of ['kafka', 'http', 'peer', 'advertise-kafka', 'advertise-peer'] as const) {
    for (const text of [
      '',
      '9092',
      'host',
      'host:',
      ':9092',
      'host:65536',
      'host:-1',
      'host:9092x',
      '::1:9092',
      '[::1]',
      'http://h:1',
      'a b:1',
      '[x]:1',
    ]) {
      refused({ [option]: text }, option, /must be HOST:PORT, for example/)
    }
  }
  assert.deepEqual(parseAddress('kafka', '[::1]:9092'), { host: '::1', port: 9092 })
  for (const text of ['127.0.0.1:0', 'localhost:65535', '[::1]:1', '[fe80::1]:9092'])
    assert.equal(formatAddress(parseAddress('kafka', text)), text)
})

test('a listener that others can reach needs to be meant', () => {
  for (const option of ['kafka', 'http', 'peer'] as const) {
    for (const host of ['0.0.0.0', '[::]', '10.0.0.1', 'example.org', '127.example.org', '128.0.0.1', '[2001:db8::1]'])
      refused({ [option]: `${host}:5000` }, option, /--allow-insecure/)
    for (const host of ['127.0.0.1', '127.1.2.3', 'localhost', '[::1]'])
      assert.equal(parseNodeOptions({ [option]: `${host}:5000` })[option].port, 5000)
    assert.equal(parseNodeOptions({ [option]: '10.0.0.1:5000', 'allow-insecure': 'true' })[option].host, '10.0.0.1')
  }
})

test('who listens everywhere has to say where others come to', () => {
  for (const host of ['0.0.0.0', '[::]']) {
    refused({ kafka: `${host}:5000`, 'allow-insecure': 'true' }, 'kafka', /--advertise-kafka HOST:PORT/)
    refused({ peer: `${host}:5000`, 'allow-insecure': 'true' }, 'peer', /--advertise-peer HOST:PORT/)
    assert.deepEqual(
      parseNodeOptions({ kafka: `${host}:5000`, 'allow-insecure': 'true', 'advertise-kafka': 'example.org:5000' })
        .advertiseKafka,
      { host: 'example.org', port: 5000 },
    )
  }
  assert.ok(parseNodeOptions({ http: '0.0.0.0:5000', 'allow-insecure': 'true' }))
  refused({ 'advertise-kafka': '0.0.0.0:9092' }, 'advertise-kafka', /HOST/)
  refused({ 'advertise-peer': '[::]:7400' }, 'advertise-peer', /HOST/)
  refused({ 'advertise-kafka': 'example.org:0' }, 'advertise-kafka', /port/)
})

test('--allow-insecure is yes or no', () => {
  for (const yes of ['true', '']) assert.equal(parseNodeOptions({ 'allow-insecure': yes }).allowInsecure, true)
  assert.equal(parseNodeOptions({ 'allow-insecure': 'false' }).allowInsecure, false)
  for (const unclear of ['1', 'yes', 'no', 'TRUE'])
    refused({ 'allow-insecure': unclear }, 'allow-insecure', /true or false/)
})

test('the list of members names every id and address once, this node among them', () => {
  const cluster = '1@127.0.0.1:7401, 2@127.0.0.1:7402,3@[::1]:7403'
  assert.deepEqual(
    parseNodeOptions({ id: '2', cluster }).cluster.map((member) => `${member.id} ${formatAddress(member.peer)}`),
    ['1 127.0.0.1:7401', '2 127.0.0.1:7402', '3 [::1]:7403'],
  )
  refused({ id: '4', cluster }, 'cluster', /does not list this node's id 4/)
  refused({ cluster: '1@h:1,1@h:2' }, 'cluster', /names an id twice/)
  refused({ cluster: '1@h:1,2@h:1' }, 'cluster', /names an address twice/)
  for (const part of ['1', '@h:1', '1@', '1@h:1@x', '1@h', 'x@h:1', ''])
    refused({ cluster: `1@h:1,${part}` }, 'cluster', /./)
  refused({ cluster: '1@h:1,2@h:0' }, 'cluster', /port/)
})

test('an empty directory or rack is a slip, not a wish', () => {
  refused({ data: '' }, 'data', /directory/)
  refused({ rack: '' }, 'rack', /name/)
})

test('what this version does not have is refused with a line that says why', () => {
  refused({ join: '127.0.0.1:7400' }, 'join', /list all members in --cluster/)
  refused({ redis: '127.0.0.1:6379' }, 'redis', /tables do not exist in this version/)
})

test('every setting has a variable; an empty one counts as unset', () => {
  assert.equal(environmentVariableOf('advertise-kafka'), 'TIDEMARK_ADVERTISE_KAFKA')
  const environment: Record<string, string> = {}
  for (const { flag } of SETTINGS) environment[environmentVariableOf(flag)] = `value of ${flag}`
  assert.deepEqual(
    Object.keys(settingsFromEnvironment(environment)),
    SETTINGS.map(({ flag }) => flag),
  )
  assert.deepEqual(settingsFromEnvironment({ TIDEMARK_ID: '', TIDEMARK_DATA: 'd', PATH: 'x' }), { data: 'd' })
})

test('the file is one JSON object of known keys with plain values', () => {
  assert.deepEqual(settingsFromFile('{"id": 2, "data": "d", "allow-insecure": true}', 'f'), {
    id: '2',
    data: 'd',
    'allow-insecure': 'true',
  })
  const wrong: [string, RegExp][] = [
    ['', /is not JSON/],
    ['{', /is not JSON/],
    ['[]', /must hold one JSON object/],
    ['null', /must hold one JSON object/],
    ['3', /must hold one JSON object/],
    ['{"port": 1}', /has the unknown key 'port'; known: id, data/],
    ['{"kafka": {"host": "h"}}', /'kafka'/],
    ['{"cluster": ["1@h:1"]}', /'cluster'/],
    ['{"rack": null}', /'rack'/],
  ]
  for (const [text, what] of wrong) {
    assert.throws(
      () => settingsFromFile(text, 'tidemark.json'),
      (error) => {
        assert.ok(error instanceof OptionError)
        assert.match(error.message, what)
        assert.match(error.message, /^--config tidemark\.json/)
        assert.doesNotMatch(error.message, /\n/)
        return true
      },
      text,
    )
  }
})
