#!/usr/bin/python3
"""Figures of the queue, printed and never asserted: bench/README.md says what they mean.

    bench/bench_queue.py [--mails N,...] [--runs N] [--size BYTES] [--write] [list] [start] [relay] [waiting]
"""

import argparse
import contextlib
import os
import pathlib
import re
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request

from tools import TOOLS, Counted, check_binary, figures_table, heading, natural, naturals, progress, pss, say, write
import tools
import harness

DOMAINS = 1000
FRESH = 20000  # mails that come while others wait
# Places of the sink that do not work: refuse connections, accept and say nothing, leave every packet unanswered.
BROKEN = ("dead", 3, "silent", 5, "deaf", 7)
NOWHERE = "127.0.0.1:9"


def load(address, connections, first, count, size, domains=DOMAINS):
    return Counted(TOOLS / "load", address[0], address[1], connections, first, count, size, domains)


def free_port():
    return int(harness.free_address().rsplit(":", 1)[1])


def next_hop(place, port):
    return f"127.1.{place // 256}.{place % 256}:{port}"


def settings(routes, **more):
    base = {
        "limits": {"rate": 1000000, "session_time": "1d", "commands": 100000},
        "listeners": [{"name": "inbound", "type": "private", "address": "127.0.0.1:0", "policy": "open"}],
        "mail_flow_policies": [{"name": "open", "action": "relay", "tls": "none"}],
        "accepted_domains": [], "routes": routes, "certificates": [],
        "delivery": {"retry": ["10m"], "connections": 60, "timeouts": {"connect": "30s"}},
        "log": {"to": "postern.log", "level": "warn"},
    }
    return harness.settings(delivery_tls="none", **(base | more))


def to_sink(port):
    """A route for each domain to a place of its own."""
    return [{"domain": f"d{i}.bench.test", "next_hop": next_hop(i, port)} for i in range(DOMAINS)]


# The image: a state directory with all mail queued


class Image:
    def __init__(self, folder, pki, mails, size):
        self.folder, self.pki, self.mails, self.size = folder, pki, mails, size
        self.routes = [{"domain": "default", "next_hop": NOWHERE}]

    def make(self):
        print(f"putting {self.mails} mails of {self.size} bytes for {DOMAINS} domains into a queue", flush=True)
        gateway = harness.Gateway(self.pki, settings(self.routes), self.folder)
        with gateway:
            assert gateway.command("queue", "suspend", NOWHERE).returncode == 0
            loader = load(gateway.address(), 50, 0, self.mails, self.size)
            start = time.monotonic()
            tell(loader, self.mails, "in the queue")
            loader.wait()
            print(f"accepted {self.mails / (loader.counts()[-1][0] - start):.0f} mails/s into the queue", flush=True)
        size = sum(f.stat().st_size for f in (self.folder / "state").iterdir() if f.is_file())
        print(f"the queue is {size / 2**20:.0f} MiB", flush=True)

    @contextlib.contextmanager
    def copy(self, routes, cold=False):
        """A gateway over a copy of it, not started."""
        folder = harness.make_folder()
        shutil.rmtree(folder / "state", ignore_errors=True)
        if self.mails > 0:
            progress("copying the queue")
            subprocess.run(["cp", "-a", "--reflink=auto", self.folder / "state", folder / "state"], check=True)
            os.sync()
        if cold:
            forget(folder / "state")
        gateway = harness.Gateway(self.pki, settings(routes), folder)
        try:
            yield gateway
        finally:
            gateway.discard()


def tell(counted, wanted, what, patience=7200):
    """Wait until so many are counted, and say now and then how far it is; `counted` prints them first in its lines."""
    deadline, said = time.monotonic() + patience, time.monotonic()
    while (count := counted.counts()[-1][1][0] if counted.counts() else 0) < wanted:
        if counted.process.poll() is not None and (counted.counts() or [(0, [0])])[-1][1][0] < wanted:
            raise harness.Late(f"{what}: it ended at {counted.counts()[-1:]}")
        if time.monotonic() > deadline:
            raise harness.Late(f"{what}: {count} of {wanted} within {patience} s")
        if time.monotonic() > said + 10:
            said = time.monotonic()
            progress(f"{count:,} of {wanted:,} {what}")
        time.sleep(0.05)


def check_disk(mails, size):
    """The queue, a copy of it, and its log; a mail of up to 128 KiB lies in the database, in pages of 8 KiB."""
    folder = tempfile.gettempdir()
    needed = 2 * mails * (size + 5 * 1024) * 1.1 + 2**30
    free = shutil.disk_usage(folder).free
    if free < needed:
        sys.exit(f"{mails:,} mails of {size:,} bytes, and a copy of them, need {needed / 2**30:.1f} GiB in {folder}, {free / 2**30:.1f} are "
            "free: let TMPDIR name another place, or take fewer (--mails)")


def forget(folder):
    """Drop the files from the page cache, as after a boot."""
    for path in folder.rglob("*"):
        if path.is_file():
            with open(path, "rb") as file:
                os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


# a) postern queue list


def memory(pid, key):
    """A line of /proc/PID/status in KiB."""
    for line in pathlib.Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith(key + ":"):
            return int(line.split()[1])
    return 0


def run_list(gateway):
    """Run it to its end: {first: ms, seconds, lines, peak: KiB, anonymous: KiB}."""
    start = time.monotonic()
    process = subprocess.Popen([harness.BINARY, "-c", gateway.file, "queue", "list"], stdout=subprocess.PIPE)
    out = process.stdout.fileno()
    first, lines, peak, anonymous = None, 0, 0, 0
    while piece := os.read(out, 65536):
        if first is None and b"\n" in piece:
            first = 1000 * (time.monotonic() - start)
        lines += piece.count(b"\n")
        peak = max(peak, memory(process.pid, "VmHWM"))
        anonymous = max(anonymous, memory(process.pid, "RssAnon"))
    assert process.wait() == 0
    return {"first": first, "seconds": time.monotonic() - start, "lines": lines, "peak": peak,
        "anonymous": anonymous}


def list_once(image):
    """Idle first, then while mail is accepted."""
    with image.copy(image.routes) as gateway, gateway:
        queue = gateway.roles()["queue"]["pid"]
        pathlib.Path(f"/proc/{queue}/clear_refs").write_text("5")
        before = memory(queue, "VmRSS")
        found = run_list(gateway)
        assert found["lines"] >= image.mails, found
        found["growth"] = memory(queue, "VmHWM") - before

        loader = load(gateway.address(), 20, 10**6, 0, image.size)
        time.sleep(1)
        quiet = time.monotonic()
        time.sleep(4)
        busy, runs = time.monotonic(), []
        while time.monotonic() < busy + 4:
            runs.append(run_list(gateway))
        after = time.monotonic()
        time.sleep(4)
        end = time.monotonic()
        time.sleep(0.3)
        loader.stop()
        found["first_busy"] = max(run["first"] for run in runs)
        found["without"] = (loader.rate(quiet, busy) + loader.rate(after, end)) / 2
        found["with"] = loader.rate(busy, after)
        found["grown"] = memory(queue, "VmHWM") - before
    return found


def bench_list(image, runs):
    found = [list_once(image) for _ in range(runs)]

    return [say("queue list: first line", [f["first"] for f in found], "ms", "200"),
        say("queue list: first line while mail comes (slowest)", [f["first_busy"] for f in found], "ms", "200"),
        say("queue list: all lines", [1000 * f["seconds"] for f in found], "ms"),
        say("queue list: peak memory of the command", [f["peak"] / 1024 for f in found], "MiB", "10"),
        say("queue list: of that not files", [f["anonymous"] / 1024 for f in found], "MiB"),
        say("queue list: growth of role queue", [f["growth"] / 1024 for f in found], "MiB", "10"),
        say("queue list: the same with lists and mail for 13 s", [f["grown"] / 1024 for f in found], "MiB"),
        say("accepted without lists", [f["without"] for f in found], "mails/s"),
        say("accepted while lists run one after another", [f["with"] for f in found], "mails/s"),
        say("ratio", [100 * f["with"] / f["without"] for f in found], "%")]


# b) start-up, c) destinations that do not work


def first_reply(gateway, port, start, patience=60):
    """Hand in one mail as soon as that is possible: ms from `start` to the 250."""
    deadline = time.monotonic() + patience
    while True:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=patience) as s:
            file = s.makefile("rwb")
            for command in (b"", b"HELO a\r\n", b"MAIL FROM:<first@sender.test>\r\n", b"RCPT TO:<u@d1.bench.test>\r\n",
                    b"DATA\r\n", b"Subject: first\r\n\r\nHello.\r\n.\r\n"):
                file.write(command)
                file.flush()
                line = file.readline()
                if line[:1] not in (b"2", b"3"):
                    break
            else:
                return 1000 * (time.monotonic() - start)
        assert gateway.process.poll() is None and time.monotonic() < deadline, f"no mail was accepted\n{gateway.stderr()}"
        time.sleep(0.005)


def cpu_seconds(gateway):
    """Processor time of all roles so far."""
    ticks = 0
    for role in gateway.roles().values():
        words = pathlib.Path(f"/proc/{role['pid']}/stat").read_text().rsplit(")", 1)[1].split()
        ticks += int(words[11]) + int(words[12])
    return ticks / os.sysconf("SC_CLK_TCK")


def drain(image, broken, cold=False, wait=True):
    """Start over the full queue, and see how it empties."""
    port, inbound = free_port(), free_port()
    sink = Counted(TOOLS / "sink", port, DOMAINS, *(BROKEN if broken else ()))
    harness.wait_for("the sink listens", lambda: sink.look())
    try:
        with image.copy(to_sink(port), cold) as gateway:
            text = gateway.file.read_text().replace("127.0.0.1:0", f"127.0.0.1:{inbound}")
            gateway.configure(text)
            start = time.monotonic()
            gateway.start(wait=False)
            found = {"accept": first_reply(gateway, inbound, start)}
            harness.wait_for("a delivery", sink.counts)
            first = sink.counts()[0][0]
            found["deliver"] = 1000 * (first - start)
            expected = image.mails - (len(BROKEN) // 2 if broken else 0) * image.mails // DOMAINS
            if wait:
                tell(sink, expected, "delivered")
                found["rate"] = sink.counts()[-1][1][0] / (sink.counts()[-1][0] - first)
                found["cpu"] = cpu_seconds(gateway) / expected * 1000
                found["connections"] = sink.counts()[-1][1][2]
                found["repeated"] = sink.counts()[-1][1][0] - sink.counts()[-1][1][1] - 1  # "first" has no number
                found["damaged"] = sink.counts()[-1][1][3]
            gateway.stop()
    finally:
        sink.stop()
    return found


def bench_start(image, runs):
    cold = [drain(image, False, cold=True, wait=False) for _ in range(runs)]
    whole, broken = [], []
    for _ in range(runs):  # in turn, so that the machine treats both alike
        whole.append(drain(image, False))
        broken.append(drain(image, True))
    rows = []
    for name, found in (("start", whole + broken), ("start, files not cached", cold)):
        rows += [say(f"{name}: first 250", [f["accept"] for f in found], "ms", "2000"),
            say(f"{name}: first delivery", [f["deliver"] for f in found], "ms", "2000")]
    return rows + [say(f"delivered, {DOMAINS} destinations", [f["rate"] for f in whole], "mails/s"),
        say("the same, one refuses, one is silent, one does not answer", [f["rate"] for f in broken], "mails/s"),
        say("ratio", [100 * b["rate"] / w["rate"] for w, b in zip(whole, broken)], "%", "100"),
        say("processor time of all roles", [f["cpu"] for f in whole], "s/1000"),
        say("the same with those three", [f["cpu"] for f in broken], "s/1000"),
        say("mails on one connection", [(image.mails) / f["connections"] for f in whole], "mails"),
        say("repeated", [f["repeated"] for f in whole + broken], "mails", "0"),
        say("damaged", [f["damaged"] for f in whole + broken], "mails", "0")]


# d) throughput


def syncs(gateway):
    """Commits of queue.db that were waited for, by the gateway's own count."""
    page = urllib.request.urlopen(f"http://{gateway.status()['metrics']}/metrics").read().decode()
    return int(re.search(r"^postern_spool_fsync_seconds_count(?:\{[^}]*\})? (\d+)", page, re.M).group(1))


def relay_once(image, count=20000, connections=20):
    port = free_port()
    sink = Counted(TOOLS / "sink", port, 1)
    harness.wait_for("the sink listens", lambda: sink.look())
    gateway = harness.Gateway(image.pki, settings([{"domain": "default", "next_hop": next_hop(0, port)}],
        metrics={"address": "127.0.0.1:0"}))
    try:
        with gateway:
            loader = load(gateway.address(), connections, 0, count, image.size)
            start = time.monotonic()
            loader.wait()
            harness.wait_for(lambda: f"{count} mails at the sink ({sink.counts()[-1]})",
                lambda: sink.counts()[-1][1][1] >= count, 120)
            return {"in": count / (loader.counts()[-1][0] - start), "through": count / (sink.counts()[-1][0] - start),
                "cpu": cpu_seconds(gateway) / count * 1000, "syncs": syncs(gateway) / count * 1000}
    finally:
        sink.stop()
        gateway.discard()


def bench_relay(image, runs):
    found = [relay_once(image) for _ in range(runs)]

    return [say("relay: accepted meanwhile", [f["in"] for f in found], "mails/s"),
        say("relay: delivered", [f["through"] for f in found], "mails/s"),
        say("relay: processor time of all roles", [f["cpu"] for f in found], "s/1000"),
        say("relay: commits of queue.db", [f["syncs"] for f in found], "/1000")]


# e) many mails that wait, and fresh ones for another destination


def waiting_once(image, fresh=FRESH):
    """{what: figure} of a gateway with the whole image waiting that relays `fresh` mails.

    All wait for a suspended place, but those of d0, one in DOMAINS, which leave at once: the first of them is the first delivery. Then fresh mails
    come, all for d0.
    """
    port, inbound = free_port(), free_port()
    routes = [{"domain": "d0.bench.test", "next_hop": next_hop(0, port)}, {"domain": "default", "next_hop": NOWHERE}]
    sink = Counted(TOOLS / "sink", port, 1)
    harness.wait_for("the sink listens", sink.look)
    try:
        with image.copy(routes, cold=True) as gateway:
            gateway.configure(gateway.file.read_text().replace("127.0.0.1:0", f"127.0.0.1:{inbound}"))
            progress("starting")
            start = time.monotonic()
            gateway.start(wait=False)
            found = {"accept": first_reply(gateway, inbound, start, 600)}
            old = len(range(0, image.mails, DOMAINS))
            if old:
                harness.wait_for("a delivery", sink.counts, 600)
                found["deliver"] = 1000 * (sink.counts()[0][0] - start)
                tell(sink, old, "delivered of the old mails")
            queue = gateway.roles()["queue"]["pid"]
            found |= {"pss": pss(queue), "anonymous": memory(queue, "RssAnon") / 1024}
            pathlib.Path(f"/proc/{queue}/clear_refs").write_text("5")
            cpu, begin = cpu_seconds(gateway), time.monotonic()
            loader = load(("127.0.0.1", inbound), 20, 2**23, fresh, image.size, 1)
            tell(sink, old + fresh, "delivered with the fresh mails")
            loader.wait()
            mails, unique, _, damaged = sink.counts()[-1][1]
            found |= {"in": fresh / (loader.counts()[-1][0] - begin), "through": fresh / (sink.counts()[-1][0] - begin),
                "cpu": (cpu_seconds(gateway) - cpu) / fresh * 1000, "pss_busy": pss(queue), "peak": memory(queue, "VmHWM") / 1024,
                "lost": old + fresh - unique, "repeated": mails - unique, "damaged": damaged}
            start = time.monotonic()
            gateway.stop()
            found["stop"] = 1000 * (time.monotonic() - start)
            return found
    finally:
        sink.stop()


def bench_waiting(image, runs):
    empty = Image(None, image.pki, 0, image.size)
    full, none = [], []
    for turn in range(runs):  # in turn, so that the machine treats both alike
        progress(f"run {turn + 1} of {runs}")
        full.append(waiting_once(image))
        none.append(waiting_once(empty))
    many, goal = f"{image.mails:,} waiting", "2000" if image.mails <= 100000 else ""

    def more(key):
        return [f[key] - n[key] for f, n in zip(full, none)]

    return [say(f"{many}, not cached: start to first 250", [f["accept"] for f in full], "ms", goal),
        say(f"{many}, not cached: start to first delivery", [f["deliver"] for f in full], "ms", goal),
        say(f"{many}: PSS of role queue", [f["pss"] for f in full], "MiB"),
        say(f"{many}: more than with an empty queue", more("pss"), "MiB"),
        say(f"{many}: of that not files", more("anonymous"), "MiB"),
        say(f"{many}: that for each mail", [2**20 * mib / image.mails for mib in more("anonymous")], "bytes"),
        say(f"{many}: PSS after {FRESH:,} fresh mails", [f["pss_busy"] for f in full], "MiB"),
        say("an empty queue: PSS after them", [n["pss_busy"] for n in none], "MiB"),
        say(f"{many}: peak RSS meanwhile", [f["peak"] for f in full], "MiB"),
        say(f"{many}: fresh mails accepted", [f["in"] for f in full], "mails/s"),
        say(f"{many}: fresh mails delivered", [f["through"] for f in full], "mails/s"),
        say("an empty queue: the same mails delivered", [n["through"] for n in none], "mails/s"),
        say(f"{many}: rate, of that with an empty queue", [100 * f["through"] / n["through"] for f, n in zip(full, none)], "%"),
        say(f"{many}: processor time of a fresh mail", [f["cpu"] for f in full], "s/1000"),
        say("an empty queue: the same", [n["cpu"] for n in none], "s/1000"),
        say(f"{many}: time to stop", [f["stop"] for f in full], "ms"),
        say(f"{many}: lost, repeated or damaged", [f[key] for f in full + none for key in ("lost", "repeated", "damaged")], "mails", "0")]


BENCHES = {"list": bench_list, "start": bench_start, "relay": bench_relay, "waiting": bench_waiting}


def measure(mails, pki, folder, arguments):
    """Rows of all figures with a queue of so many mails."""
    names = arguments.what or BENCHES
    image = Image(folder / f"image{mails}", pki, mails, arguments.size)
    image.folder.mkdir()
    if set(names) & {"list", "start", "waiting"}:
        image.make()
    rows = [row for name in names for row in BENCHES[name](image, arguments.runs)]
    shutil.rmtree(image.folder)
    return rows


def figure(text):
    if text not in BENCHES:
        raise argparse.ArgumentTypeError(f"there is no figure `{text}`: expected {', '.join(BENCHES)}")
    return text


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--mails", type=naturals, default="100000", help="in the queue, 100000 unless said; several numbers, with commas, one after another")
    parser.add_argument("--runs", type=natural, default=3, help="3 unless said")
    parser.add_argument("--size", type=natural, default=4096, help="of a mail in bytes, 4096 unless said")
    parser.add_argument("--write", action="store_true", help="the table into docs/performance.md")
    parser.add_argument("what", nargs="*", type=figure, help=f"some of {', '.join(BENCHES)}; all unless said")
    arguments = parser.parse_args()
    check_binary()
    check_disk(max(arguments.mails), arguments.size)  # before hours have passed
    harness.make_user()
    folder = harness.make_folder()
    try:
        pki = harness.Pki(folder / "pki")
        head = heading()
        print(head, flush=True)
        rows = [row for mails in arguments.mails for row in measure(mails, pki, folder, arguments)]
        print(f"load at the end {os.getloadavg()[0]:.2f}")
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    if arguments.write:
        write("bench_queue.py", figures_table(head, *rows))


tools.run(main)
