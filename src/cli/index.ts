/**
 * `tidemark COMMAND`: every command prints for people, or JSON with `--json`; answers go to standard output, everything else to
 * standard error; an error is one line that names the thing, the value and the way out.
 *
 * Exit codes: 0 done (or stopped on request), 1 refused or failed, 2 a backup whose records went meanwhile, 70 a node stopped itself to protect data.
 */
import { Command, CommanderError, Option } from 'commander'
import { OptionError, SETTINGS } from '../node-options.ts'
import { VERSION } from '../package.ts'
import { CliError } from './errors.ts'
import { output, tell } from './output.ts'

const EXAMPLES = `
Examples:
  tidemark start                                        one node, data in ./tidemark-data
  tidemark dev                                          three nodes on this machine, Ctrl-C stops them
  tidemark topic create orders --partitions 6
  echo 'k:hello' | tidemark produce orders --key-separator :
  tidemark consume orders --from start --group billing
  tidemark backup ./backup                              again tomorrow: it copies what is new
  tidemark log verify ./tidemark-data                   is everything on the disk whole?`

export async function run(argv: readonly string[]): Promise<number> {
  let exitCode = 0
  const finish = (code: number): void => {
    exitCode = code
  }
  const program = build(finish)
  try {
    await parsed(program, argv, finish)
    // An answer that was not taken is none, whatever the command thinks of itself.
    await output.taken()
    return exitCode
  } catch (error) {
    if (error instanceof CliError || error instanceof OptionError) {
      tell(`tidemark: ${error.message}\n`)
      return 1
    }
    // What an operator can mend is said above; this has to be mended in the code, and the trace shows where.
    const trace = error instanceof Error ? error.stack : String(error)
    tell(`tidemark: this is a defect of Tidemark; please report it with these lines: ${trace}\n`)
    return 1
  }
}

/** Help that was asked for is an answer, too; what was not understood has been explained by then. */
async function parsed(program: Command, argv: readonly string[], finish: (code: number) => void): Promise<void> {
  try {
    await program.parseAsync([...argv])
  } catch (error) {
    if (!(error instanceof CommanderError)) throw error
    finish(error.exitCode === 0 ? 0 : 1)
  }
}

function build(finish: (code: number) => void): Command {
  const program = new Command('tidemark')
    .description('A replicated log with two faces: streams over the Kafka protocol, tables over the Redis protocol.')
    .version(VERSION)
    .addHelpText('after', EXAMPLES)
    .showHelpAfterError('(add --help for what is possible)')
    .configureOutput({ writeOut: (text) => void output.write(text), writeErr: tell })
    .exitOverride()
  const command = (name: string, description: string): Command =>
    program.command(name).description(description).exitOverride()
  const client = (name: string, description: string, parent = program): Command =>
    parent
      .command(name)
      .description(description)
      .exitOverride()
      .addOption(
        new Option('--brokers <LIST>', 'Kafka addresses of the cluster, HOST:PORT,…')
          .env('TIDEMARK_BROKERS')
          .default('127.0.0.1:9092'),
      )
      .option('--json', 'print JSON')

  const start = command('start', 'Run one node in the foreground.')
  for (const { flag, argument, help } of SETTINGS)
    start.option(argument === null ? `--${flag}` : `--${flag} <${argument}>`, help)
  start
    .option('--config <FILE>', 'a JSON object with these options as keys')
    .option('--json', 'log JSON lines')
    .option('--quiet', 'log warnings only')
    .addHelpText(
      'after',
      '\nEvery option has an environment variable: TIDEMARK_DATA for --data, TIDEMARK_ADVERTISE_KAFKA for --advertise-kafka, …',
    )
    .action(async (flags) => finish(await (await import('./start.ts')).start(flags)))

  command('dev', 'Run a cluster of real processes on this machine. Ctrl-C stops it.')
    .option('--nodes <N>', 'how many', '3')
    .option('--data <DIR>', 'where the nodes keep their data', './tidemark-data/dev')
    .option('--base-port <PORT>', 'node i has Kafka at base + 10 (i - 1), HTTP at + 2, peers at + 3', '19092')
    .option('--json', 'print JSON lines')
    .action(async (flags) => finish(await (await import('./dev.ts')).dev(flags)))

  command('status', 'Show nodes, shards, leaders, marks and lag.')
    .addOption(
      new Option('--http <URL>', 'HTTP address of any node')
        .env('TIDEMARK_STATUS_HTTP')
        .default('http://127.0.0.1:9644'),
    )
    .option('--watch', 'refresh every second')
    .option('--json', 'print JSON')
    .action(async (flags) => finish(await (await import('./status.ts')).status(flags)))

  logCommands(command('log', 'Look into journal, shard logs, checkpoint and identity of a data directory.'), finish)
  const topic = command('topic', 'Create, list, describe or delete topics.')
  client('create', 'Create a topic.', topic)
    .argument('<name>')
    .option('--partitions <N>', "how many partitions (default: the cluster's)")
    .option('--replication <N>', 'copies of each partition (default: three, or as many as there are nodes)')
    .option('--config <KEY=VALUE>', 'a topic setting, for example retention.ms=86400000; may be repeated', repeated)
    .action(async (name, flags) => finish(await (await import('./topic.ts')).createTopic(name, flags)))
  client('list', 'List topics.', topic).action(async (flags) =>
    finish(await (await import('./topic.ts')).listTopics(flags)),
  )
  client('describe', 'Show partitions, leaders, replicas and marks of a topic.', topic)
    .argument('<name>')
    .addOption(
      new Option(
        '--http <URL>',
        'HTTP address of any node of the cluster, which says what is stored, what is damaged and why logs start where they do',
      )
        .env('TIDEMARK_STATUS_HTTP')
        .default('http://127.0.0.1:9644'),
    )
    .action(async (name, flags, described: Command) => {
      const wasGiven = described.getOptionValueSource('http') !== 'default'
      finish(await (await import('./topic.ts')).describeTopic(name, flags, wasGiven))
    })
  client('delete', 'Delete a topic and its data.', topic)
    .argument('<name>')
    .action(async (name, flags) => finish(await (await import('./topic.ts')).deleteTopic(name, flags)))

  client('produce', 'Send lines from standard input as records.')
    .argument('<topic>')
    .option('--key-separator <TEXT>', 'what stands before it in a line is the key')
    .option('--acks <all|1|0>', 'when a record counts as written', 'all')
    .action(async (name, flags) => finish(await (await import('./produce.ts')).produce(name, flags)))
  client('consume', 'Print records as lines.')
    .argument('<topic>')
    .option('--group <NAME>', 'read as a member of a consumer group and commit')
    .option('--from <start|end>', 'where to begin when the group has no position', 'end')
    .option('--max <N>', 'stop after so many records')
    .option('--until-end', 'stop at the end of the topic as it is now')
    .option('--key-separator <TEXT>', 'print the key and this before the value')
    .action(async (name, flags) => finish(await (await import('./consume.ts')).consume(name, flags)))
  backupCommands(client, finish)
  return program
}

function backupCommands(client: (name: string, description: string) => Command, finish: (code: number) => void): void {
  const patient = (name: string, description: string): Command =>
    client(name, description)
      .argument('<folder>')
      .option('--topic <NAME>', 'only this topic; may be repeated', repeated)
      .option('--patience <SECONDS>', 'how long one thing may fail before it is given up', '60')
  patient('backup', 'Copy the topics and positions of a running cluster into a folder; later runs copy what is new.')
    .option('--verify', 'copy nothing: read the folder and check every file')
    .option('--segment-bytes <N>', 'how large one file of the backup may grow (default: 64 MiB)')
    .addHelpText(
      'after',
      '\nMay be stopped at any time: the same command goes on. Each partition is as it was when its turn began.' +
        '\nExit code 2: done, but records were deleted from a log while it was read.',
    )
    .action(async (folder, flags) => finish(await (await import('./backup.ts')).backup(folder, flags)))
  patient(
    'restore',
    'Bring the topics of a backup, with offsets and positions, into a cluster that does not have them.',
  )
    .option('--until <TIME>', 'leave out each partition from its first batch with a later record on')
    .addHelpText(
      'after',
      '\nNobody sees the topics before all of them are whole and compared. May be stopped at any time: the same command goes on.',
    )
    .action(async (folder, flags) => finish(await (await import('./backup.ts')).restore(folder, flags)))
}

/** One value each time: an option that takes all it finds would take the arguments behind it, too. */
function repeated(value: string, before: readonly string[] = []): readonly string[] {
  return [...before, value]
}

/** They take no lock and write nothing: the node may be running. */
function logCommands(log: Command, finish: (code: number) => void): void {
  const action = (name: 'dump' | 'verify' | 'stats', description: string): Command =>
    log
      .command(name)
      .description(`${description} A folder is searched. The node may be running.`)
      .exitOverride()
      .argument('<file...>', 'files or folders')
      .option('--json', 'print JSON lines')
      .action(async (files, flags) => finish(await (await import('./log.ts')).logCommand(name, files, flags)))
  action('dump', 'Print every block and entry, what ends each file, and damage with its place.')
    .option('--records', 'also the records of the batches')
    .option('--shard <N>', 'only entries of this shard')
    .option('--from <INDEX>', 'only entries from this index on')
    .option('--to <INDEX>', 'only entries up to this index')
    .option('--limit <N>', 'stop after so many entries')
  action('verify', 'Check sums, sequences and chains; exit code 1 if anything is damaged.')
  action('stats', 'Count blocks, entries, records and bytes, per file and per shard.')
}
