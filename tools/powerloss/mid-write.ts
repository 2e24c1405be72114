/**
 * Power that goes in the middle of a journal's write, with only a part of the block on the disk.
 *
 * A block is half there for a moment only: when it was written and is not yet synced, the kernel is free to write its pages in
 * any order, as it does by itself when it cares to. Random cuts hardly ever meet that moment, so this one is sought: the node is
 * stopped and let go again until one of its journal's segments has dirty pages (cachestat, Linux 6.5 and later). A part of these
 * is written (sync_file_range), the head of the block or its tail, then the power goes. Nothing that was synced is touched by it.
 *
 * What the page cache calls dirty is a folio, which may be megabytes long and is written as a whole. So the segments are dropped
 * from the cache first: what is written into them next lies in folios no larger than itself. If all was written nevertheless,
 * the node goes on, and so does the search. (A file that is being filled with zeros for later has no header yet, and is
 * passed over.)
 */
import { command } from './commands.ts'

export interface Victim {
  readonly pid: number
  readonly mount: string
  /** The folder of its segments. */
  readonly journal: string
  readonly part: 'head' | 'tail'
  /** Of the dirty pages, in hundredths, at least one and not all. */
  readonly percent: number
}

/** Arguments: pid, mount, journal, part, percent; and the next five. All stay stopped. */
const SCRIPT = `
import ctypes, fcntl, os, signal, struct, sys, time
PAGE, SECONDS, CACHESTAT, TAKES_POWER = 4096, 1.5, 451, 0x8004587d
libc = ctypes.CDLL(None, use_errno=True)
libc.sync_file_range.argtypes = [ctypes.c_int, ctypes.c_int64, ctypes.c_int64, ctypes.c_uint]

def stop(pid):
    os.kill(pid, signal.SIGSTOP)
    for task in os.listdir('/proc/%d/task' % pid):
        while state(pid, task) not in 'TtZX':
            time.sleep(0.0001)

def state(pid, task):
    try:
        with open('/proc/%d/task/%s/stat' % (pid, task)) as stat:
            return stat.read().rsplit(')', 1)[1].split()[0]
    except FileNotFoundError:
        return 'X'

def dirty(fd, first=0, pages=0):
    range, found = struct.pack('QQ', first * PAGE, pages * PAGE), ctypes.create_string_buffer(40)
    if libc.syscall(CACHESTAT, fd, range, found, 0) != 0:
        return 0
    return struct.unpack('5Q', found.raw)[1]

def files(journal):
    for name in os.listdir(journal) if os.path.isdir(journal) else []:
        try:
            yield os.open(os.path.join(journal, name), os.O_RDONLY)
        except FileNotFoundError:
            pass

def forget(journal):
    for fd in files(journal):
        os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_DONTNEED)
        os.close(fd)

def tear(fd, part, percent):
    count = dirty(fd)
    if count < 2 or os.pread(fd, 8, 0) != b'TIDEJRNL':
        return False
    low, high = 0, os.fstat(fd).st_size // PAGE
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if dirty(fd, low, middle - low) else (middle, high)
    some = min(max(count * percent // 100, 1), count - 1)
    first = low if part == 'head' else low + count - some
    libc.sync_file_range(fd, first * PAGE, some * PAGE, 7)
    return 0 < dirty(fd) < count

def torn(journal, part, percent):
    found = False
    for fd in files(journal):
        found = found or tear(fd, part, percent)
        os.close(fd)
    return found

args = sys.argv[1:]
victims = [args[i:i + 5] for i in range(0, len(args), 5)]
mounts = [os.open(victim[1], os.O_RDONLY) for victim in victims]
met = 0
for pid, _, journal, part, percent in victims:
    forget(journal)
    deadline = time.monotonic() + SECONDS
    try:
        while True:
            stop(int(pid))
            if torn(journal, part, int(percent)):
                met += 1
                break
            if time.monotonic() > deadline:
                break
            os.kill(int(pid), signal.SIGCONT)
            time.sleep(0.001)
    except ProcessLookupError:
        pass
for fd in mounts:
    fcntl.ioctl(fd, TAKES_POWER, struct.pack('I', 2))
print(met)
`

/** How many were met in the middle of a write. */
export async function cutMidWrite(victims: readonly Victim[]): Promise<number> {
  const args = victims.flatMap(({ pid, mount, journal, part, percent }) => [
    String(pid),
    mount,
    journal,
    part,
    String(percent),
  ])
  return Number(await command('python3', '-c', SCRIPT, ...args))
}
