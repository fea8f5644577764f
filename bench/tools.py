"""What the scripts of this directory share: our C programs, a group of processes that is measured, numbers, and tables."""

import argparse
import atexit
import contextlib
import datetime
import os
import pathlib
import platform
import re
import signal
import statistics
import subprocess
import sys
import threading
import time

ROOT = pathlib.Path(__file__).resolve().parent.parent
os.environ.setdefault("POSTERN", str(ROOT / "build/meson/postern"))
sys.path.insert(0, str(ROOT / "tests/system"))
TOOLS = ROOT / "build/bench"

import harness  # noqa: E402 (its place is known from here on)


# The command line


def run(main):
    """The whole of a script. However it ends, nothing that it started stays: SIGTERM and Ctrl-C unwind it."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    try:
        main()
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        sys.exit(130)
    except BrokenPipeError:  # whoever reads has seen enough
        os._exit(0)


def check_binary():
    with contextlib.suppress(OSError):
        if harness.run(harness.BINARY, "--version").stdout.startswith("postern "):
            return
    sys.exit(f"{harness.BINARY} is no postern: `make build` makes one, and POSTERN names another")


def natural(text):
    """For argparse: a number from 1 on."""
    if not re.fullmatch(r"[1-9][0-9]{0,9}", text):
        raise argparse.ArgumentTypeError(f"expected a number from 1 on, not `{text}`")
    return int(text)


def naturals(text):
    return [natural(word) for word in text.split(",")]


class Counted:
    """One of our C programs, which prints "TIME COUNT ..." while it runs, and "NAME FIGURE ..." at its end."""

    def __init__(self, *command):
        self.lines = []
        self.process = subprocess.Popen([str(c) for c in command], stdout=subprocess.PIPE, text=True, bufsize=1, start_new_session=True)
        atexit.register(self.process.kill)
        os.set_blocking(self.process.stdout.fileno(), False)
        self.rest = ""

    def look(self):
        """Lines so far, as lists of words."""
        with contextlib.suppress(BlockingIOError, TypeError):
            while piece := os.read(self.process.stdout.fileno(), 65536):
                self.rest += piece.decode()
        *whole, self.rest = self.rest.split("\n")
        self.lines += [line.split() for line in whole]
        return self.lines

    def counts(self):
        """(time, count) of each line that has them."""
        return [(float(words[0]), [int(w) for w in words[1:]]) for words in self.look()
            if len(words) > 1 and words[0][0].isdigit()]

    def figures(self):
        """name -> numbers, of the lines at the end."""
        return {words[0]: [float(w) for w in words[1:]] for words in self.look()
            if len(words) > 1 and not words[0][0].isdigit()}

    def at(self, moment):
        """The count at a time, between two lines as if it grew evenly."""
        before = (moment, [0])
        for point in self.counts():
            if point[0] >= moment:
                part = (moment - before[0]) / max(point[0] - before[0], 1e-9)
                return before[1][0] + part * (point[1][0] - before[1][0])
            before = point
        return before[1][0]

    def rate(self, start, end):
        return (self.at(end) - self.at(start)) / (end - start)

    def wait(self, patience=600):
        deadline = time.monotonic() + patience
        while self.process.poll() is None:
            self.look()
            if time.monotonic() > deadline:
                self.process.kill()
            time.sleep(0.05)
        assert self.process.returncode == 0, self.process.returncode
        self.look()

    def stop(self):
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        self.wait()


# Numbers and tables


def say(name, values, unit, target=""):
    """Print a median, and hand it back as a row of a table."""
    values = [round(value, 2) + 0.0 for value in values]  # never -0.00
    print(f"{name:58} {statistics.median(values):10.2f} {unit:10} {min(values):.2f} - {max(values):.2f} (n={len(values)})"
        f"{'  target ' + target if target else ''}", flush=True)
    digits = 0 if statistics.median(values) >= 1000 else 1 if statistics.median(values) >= 10 else 2
    low, middle, high = (f"{v:,.{digits}f}" for v in (min(values), statistics.median(values), max(values)))
    return f"| {name} | {target and f'{target} {unit}'} | {middle} {unit}{f' ({low} - {high})' if low != high else ''} | {len(values)} |"


def progress(text):
    """What is going on, beside the figures."""
    print(f"{time.strftime('%H:%M:%S')} {text}", file=sys.stderr, flush=True)


def machine():
    """What figures belong to, beside the moment: machine, system, file system, and the servers."""
    model = re.search(r"model name\s*: (.*)", pathlib.Path("/proc/cpuinfo").read_text())
    system = re.search(r'PRETTY_NAME="(.*)"', pathlib.Path("/etc/os-release").read_text()).group(1)
    memory = int(pathlib.Path("/proc/meminfo").read_text().split()[1]) / 2**20
    postfix = harness.run("postconf", "-d", "-h", "mail_version").stdout.strip()
    exim = re.search(r"^Version: ([\d.]+)", harness.run("apt-cache", "show", "exim4-daemon-heavy").stdout, re.M)
    return (f"{os.cpu_count()} processors ({model.group(1) if model else platform.machine()}), {memory:.0f} GiB, {system}, "
        f"Linux {'.'.join(platform.release().split('.')[:2])}, {disk()}; "
        f"{harness.run(harness.BINARY, '--version').stdout.splitlines()[0]}{commit()}, Postfix {postfix}, "
        f"Exim {exim.group(1) if exim else 'unknown'}")


def commit():
    """The last commit that changed the program; nothing when this is no clone."""
    last = harness.run("git", "-C", ROOT, "log", "-1", "--format=%h", "--", "src", "meson.build").stdout.strip()
    changed = harness.run("git", "-C", ROOT, "status", "--porcelain", "--", "src", "meson.build").stdout
    return last and f" ({last}{' and changes' if changed else ''})"


def disk():
    """The file system that the queues are on: never mix figures of two."""
    words = harness.run("findmnt", "-n", "-o", "FSTYPE,SOURCE,OPTIONS", "-T", os.environ.get("TMPDIR", "/tmp")).stdout.split()
    kind, source, options = words[0], words[1], words[2].split(",")
    return (kind + (" in a file (loop device)" if source.startswith("/dev/loop") else "") +
        (" with discard" if "discard" in options else " without discard" if kind == "ext4" else ""))


def heading():
    """To be taken before anything is measured."""
    return f"{machine()}; {datetime.date.today()}; load at the start {os.getloadavg()[0]:.1f}."


def figures_table(head, *rows):
    """Markdown of rows that say() gave."""
    return "\n".join([head, "", "| figure | goal | median (least - most) | runs |", "|---|---|---|---|", *rows]) + "\n"


def write(script, text):
    """Put tables where docs/performance.md has the last ones of this script."""
    begin, end = (f"<!-- {word} of what bench/{script} writes -->\n" for word in ("begin", "end"))
    file = ROOT / "docs/performance.md"
    head, rest = file.read_text().split(begin)
    file.write_text(head + begin + text + end + rest.split(end)[1])


# Processes


def pss(pid):
    """MiB of memory of a process; a page that n processes share counts as 1/n; 0 when it has ended."""
    with contextlib.suppress(OSError):
        for line in pathlib.Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
            if line.startswith("Pss:"):
                return int(line.split()[1]) / 1024
    return 0


class Group:
    """A cgroup (version 2) of its own. A process that enters it leaves its whole offspring there, whatever forks, ends
    or becomes a daemon, and `cpu.stat` counts them all, those that are gone, too."""

    def __init__(self, name):
        mount = next(words[1] for words in map(str.split, pathlib.Path("/proc/mounts").read_text().splitlines())
            if words[2] == "cgroup2")
        own = next(line[3:] for line in pathlib.Path("/proc/self/cgroup").read_text().splitlines() if line.startswith("0::"))
        self.folder = pathlib.Path(mount + own) / f"postern-bench-{name}-{os.getpid()}"
        self.folder.mkdir()
        self.peak, self.watching = 0, None
        atexit.register(self.remove, 0)

    def enter(self):
        """For preexec_fn."""
        (self.folder / "cgroup.procs").write_text("0")

    def pids(self):
        return [int(word) for word in (self.folder / "cgroup.procs").read_text().split()]

    def cpu(self):
        """Seconds of processor time, in user and kernel, that all processes have used until now."""
        words = (self.folder / "cpu.stat").read_text().split()
        return int(words[words.index("usage_usec") + 1]) / 1e6

    def pss(self):
        """MiB of memory that all processes hold; shared pages count once."""
        return sum(map(pss, self.pids()))

    def watch(self):
        """Look at the memory five times a second from now on."""
        def look():
            while not ended.wait(0.2):
                self.peak = max(self.peak, self.pss())
        self.peak, ended = self.pss(), threading.Event()
        self.watching = (ended, threading.Thread(target=look, daemon=True))
        self.watching[1].start()

    def end_watch(self):
        ended, thread = self.watching
        ended.set()
        thread.join()
        return self.peak

    def remove(self, patience=10):
        """When all have ended; those that have not are killed by their pids after so many seconds."""
        deadline = time.monotonic() + patience
        while self.folder.exists() and self.pids():
            if time.monotonic() > deadline:
                for pid in self.pids():
                    with contextlib.suppress(ProcessLookupError):
                        os.kill(pid, signal.SIGKILL)
            time.sleep(0.02)
        with contextlib.suppress(FileNotFoundError):
            self.folder.rmdir()
