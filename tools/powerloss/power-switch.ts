/**
 * The ioctl that takes the power from a mounted file system, from the outside.
 *
 * FS_IOC_SHUTDOWN (0x8004587d) with NOLOGFLUSH (2) makes ext4 and XFS forget, at that instant, all that is not on the device:
 * dirty pages, and what their own journal had not committed. Every later call gets EIO. After an unmount and a mount there is
 * what a machine would find that had lost its power then, metadata without an fsync of the directory included.
 *
 * Node.js has no ioctl, and nothing here is compiled at install, so whatever interpreter the machine has does it.
 */
import { command, isInstalled } from './commands.ts'
import { cutMidWrite, type Victim } from './mid-write.ts'

export interface PowerSwitch {
  readonly name: string
  /** All of them as nearly at once as one process can. */
  off(mounts: readonly string[]): Promise<void>
  /** Null where the interpreter cannot. */
  readonly offMidWrite: ((victims: readonly Victim[]) => Promise<number>) | null
}

const PYTHON = `
import fcntl, os, struct, sys
for fd in [os.open(mount, os.O_RDONLY) for mount in sys.argv[1:]]:
    fcntl.ioctl(fd, 0x8004587d, struct.pack('I', 2))
`

const PERL = `
use Fcntl;
my @mounts = map { sysopen(my $mount, $_, O_RDONLY) or die "$_: $!"; $mount } @ARGV;
my $flags = pack("I", 2);
for my $mount (@mounts) { ioctl($mount, 0x8004587d, $flags) or die "ioctl: $!" }
`

/** Those that are installed, in the order of preference. */
export function powerSwitches(): PowerSwitch[] {
  const all: PowerSwitch[] = [
    {
      name: 'python3',
      off: async (mounts) => void (await command('python3', '-c', PYTHON, ...mounts)),
      offMidWrite: cutMidWrite,
    },
    {
      name: 'xfs_io',
      off: async (mounts) =>
        void (await Promise.all(mounts.map((mount) => command('xfs_io', '-r', '-x', '-c', 'shutdown', mount)))),
      offMidWrite: null,
    },
    {
      name: 'perl',
      off: async (mounts) => void (await command('perl', '-e', PERL, ...mounts)),
      offMidWrite: null,
    },
  ]
  return all.filter(({ name }) => isInstalled(name))
}
