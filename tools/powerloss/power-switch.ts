/**
 * The ioctl that takes the power from a mounted file system, from the outside.
 *
 * FS_IOC_SHUTDOWN (0x8004587d) with NOLOGFLUSH (2) makes ext4 and XFS forget, at that instant, all that is not on the device:
 * dirty pages, and what their own journal had not committed. Every later call gets EIO. After an unmount and a mount there is
 * what a machine would find that had lost its power then, metadata without an fsync of the directory included.
 *
 * Node.js has no ioctl, and nothing here is compiled at install, so whatever interpreter the machine has does it.
 *
 * Before the power goes the kernel may have written any dirty page, in any order: it does so by itself, seconds later or when
 * memory is short. `scatter` asks for that in the file where it matters: sync_file_range on every other page of a journal
 * segment. What was synced is not changed by it; of a block that is being written it makes a torn one. (Only python3 can do it.)
 */
import { command, isInstalled } from './commands.ts'

export interface Scatter {
  readonly file: string
  readonly first: number
}

export interface Cut {
  readonly mount: string
  /** A file of which the kernel writes every other page, from page 0 or 1 on, before the power goes. */
  readonly scatter?: Scatter
}

export interface PowerSwitch {
  readonly name: string
  /** All of them as nearly at once as one process can. */
  off(cuts: readonly Cut[]): Promise<void>
}

/** Arguments: mount, file or '', first page; and the next three. */
const PYTHON = `
import ctypes, fcntl, os, struct, sys
libc = ctypes.CDLL(None, use_errno=True)
libc.sync_file_range.argtypes = [ctypes.c_int, ctypes.c_int64, ctypes.c_int64, ctypes.c_uint]
cuts = [sys.argv[i:i + 3] for i in range(1, len(sys.argv), 3)]
mounts = [os.open(cut[0], os.O_RDONLY) for cut in cuts]
for _, file, first in cuts:
    if file:
        fd = os.open(file, os.O_RDONLY)
        for at in range(int(first) * 4096, os.fstat(fd).st_size, 8192):
            libc.sync_file_range(fd, at, 4096, 7)
        os.close(fd)
for fd in mounts:
    fcntl.ioctl(fd, 0x8004587d, struct.pack('I', 2))
`

const PERL = `
use Fcntl;
my @mounts;
for (my $i = 0; $i < @ARGV; $i += 3) {
  sysopen(my $mount, $ARGV[$i], O_RDONLY) or die "$ARGV[$i]: $!";
  push @mounts, $mount;
}
for my $mount (@mounts) { ioctl($mount, 0x8004587d, pack("I", 2)) or die "ioctl: $!" }
`

/** In the order of preference. */
export function powerSwitches(): PowerSwitch[] {
  const script = (name: string, flag: string, text: string): PowerSwitch => ({
    name,
    off: async (cuts) => {
      const args = cuts.flatMap(({ mount, scatter }) => [mount, scatter?.file ?? '', String(scatter?.first ?? 0)])
      await command(name, flag, text, ...args)
    },
  })
  const xfsIo: PowerSwitch = {
    name: 'xfs_io',
    off: async (cuts) => {
      await Promise.all(cuts.map(({ mount }) => command('xfs_io', '-r', '-x', '-c', 'shutdown', mount)))
    },
  }
  const all = [script('python3', '-c', PYTHON), xfsIo, script('perl', '-e', PERL)]
  return all.filter(({ name }) => isInstalled(name))
}
