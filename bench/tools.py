"""What the scripts of this directory share: our C programs, a group of processes that is measured, and numbers."""

import contextlib
import os
import pathlib
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


class Counted:
    """One of our C programs, which prints "TIME COUNT ..." while it runs, and "NAME FIGURE ..." at its end."""

    def __init__(self, *command):
        self.lines = []
        self.process = subprocess.Popen([str(c) for c in command], stdout=subprocess.PIPE, text=True, bufsize=1)
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


def say(name, values, unit, target=""):
    values = list(values)
    print(f"{name:58} {statistics.median(values):10.2f} {unit:10} {min(values):.2f} - {max(values):.2f} (n={len(values)})"
        f"{'  target ' + target if target else ''}", flush=True)


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
        total = 0
        for pid in self.pids():
            with contextlib.suppress(OSError):
                for line in pathlib.Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
                    if line.startswith("Pss:"):
                        total += int(line.split()[1])
        return total / 1024

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

    def remove(self):
        """When all have ended; those that have not are killed by their pids."""
        deadline = time.monotonic() + 10
        while self.pids():
            if time.monotonic() > deadline:
                for pid in self.pids():
                    with contextlib.suppress(ProcessLookupError):
                        os.kill(pid, signal.SIGKILL)
            time.sleep(0.02)
        self.folder.rmdir()
