#!/usr/bin/python3
"""Relay, side by side with Postfix: bench/README.md says what is measured, and what misleads.

    bench/relay.py [--pairs N] [--scale F] [--peers NAME,...] [--resume FILE [--write]] [CELL ...]
    bench/relay.py --read FILE [--write]

CELL is LAYER:SIZE:CONNECTIONS:MAILS, LAYER plain, tls (STARTTLS on both legs, ECDSA), tls12 (the sender speaks TLS 1.2)
or rsa; SIZE in bytes; MAILS in a session, 0 = sessions without mail (only the rate and the latency of sessions count).
"""

import argparse
import datetime
import json
import os
import pathlib
import re
import shutil
import statistics
import sys
import time
import urllib.request

from tools import TOOLS, Counted, check_binary, machine, natural, progress, write
import tools
import harness
import peers

# Each value of each dimension with the usual ones (20 connections, 10 mails a session, 4 KiB), in clear and by STARTTLS; some pairs of others;
# sessions without mail. bench/README.md says what is left out.
CELLS = ["tls:4096:20:10", "tls:51200:20:10", "tls:1048576:20:10", "tls:4096:1:10", "tls:4096:100:10", "tls:4096:20:1",
    "plain:4096:20:10", "plain:51200:20:10", "plain:1048576:20:10", "plain:4096:1:10", "plain:4096:100:10", "plain:4096:20:1",
    "rsa:4096:20:10", "tls:51200:100:10", "tls:4096:100:1", "tls:4096:1:1", "plain:4096:1:1",
    "tls12:4096:1:0", "tls:4096:1:0", "tls:4096:100:0"]
DOMAINS = 100
LAYERS = {"plain": "clear", "tls": "STARTTLS", "tls12": "STARTTLS, TLS 1.2", "rsa": "STARTTLS, RSA"}
LOWEST, HIGHEST = (512, 1, 0), (50 * 2**20, 1000, 1000)  # size, connections, mails


class Cell:
    def __init__(self, text, scale=1, count=None):
        self.text = text
        self.layer, *numbers = text.split(":")
        self.size, self.connections, self.mails = map(int, numbers)
        usual = 600 if self.connections == 1 else 3000 if self.size < 10000 else 1500 if self.size < 100000 else 200
        step = max(self.mails, 1) * self.connections
        self.count = count or max(int(usual * scale) // step, 1) * step
        self.tls = self.layer != "plain"

    def load(self, address, first, count, timed):
        options = ["-t", "1.2" if self.layer == "tls12" else "1.3"] if self.tls else []
        return Counted(TOOLS / "load", *options, *(["-l"] if timed else []), "-m", self.mails, *address,
            self.connections, first, count, self.size, DOMAINS)

    def sink(self, pki, port):
        sink = Counted(TOOLS / "sink", *(["-c", pki.folder / "both.pem"] if self.tls else []), port, 1)
        harness.wait_for("the sink listens", sink.look)
        return sink

    def __str__(self):
        layer = LAYERS[self.layer]
        if self.mails == 0:
            return f"{layer}, {self.connections} at once, sessions without mail"
        size = f"{self.size // 1024} KiB" if self.size < 2**20 else f"{self.size // 2**20} MiB"
        return f"{layer}, {size}, {self.connections} connection{'s' * (self.connections > 1)}, {self.mails} a session"


def cell_text(text):
    """For argparse: the text of a cell."""
    layer, *numbers = text.split(":")
    if layer in LAYERS and len(numbers) == 3 and all(re.fullmatch("[0-9]{1,9}", n) for n in numbers) and all(
            low <= int(n) <= high for low, n, high in zip(LOWEST, numbers, HIGHEST)):
        return text
    raise argparse.ArgumentTypeError(f"`{text}` is no cell: expected LAYER:SIZE:CONNECTIONS:MAILS, such as tls:4096:20:10, with LAYER "
        f"{', '.join(LAYERS)}; SIZE {LOWEST[0]} to {HIGHEST[0]} bytes; CONNECTIONS 1 to 1000; MAILS in a session 0 to 1000")


def make_pki(folder, rsa=False):
    """The certificate of the tests (P-256), or one with an RSA key of 2,048 bits in its place."""
    pki = harness.Pki(folder)
    if rsa:
        pki._openssl("req", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout", pki.key, "-out", pki.server, "-days", 30,
            "-subj", f"/CN={harness.HOSTNAME}")
    (folder / "both.pem").write_text(pki.server.read_text() + pki.key.read_text())
    return pki


def syncs(gateway):
    page = urllib.request.urlopen(f"http://{gateway.status()['metrics']}/metrics").read().decode()
    return int(re.search(r"^postern_spool_fsync_seconds_count(?:\{[^}]*\})? (\d+)", page, re.M).group(1))


def warm_up(cell, peer, sink):
    """A mail for each connection, so that processes are there and caches are filled: not counted."""
    if cell.mails == 0:
        cell.load(peer.address, 0, cell.connections, False).wait(60)
        return 0
    cell.load(peer.address, 10**6, cell.connections, False).wait(60)
    harness.wait_for("the first mails came", lambda: sink.counts() and sink.counts()[-1][1][1] >= cell.connections, 60)
    return cell.connections


def run(cell, kind, pki, memory, slow):
    """One run of one peer: its figures."""
    port = int(harness.free_address().rsplit(":", 1)[1])
    sink = cell.sink(pki, port)
    peer = kind(pki, f"127.1.0.0:{port}", cell.tls, peers.SLOW_DISK if slow else [])
    try:
        found = measure(cell, peer, sink, memory)
        if slow:
            found.pop("cpu", None)  # that of strace is in it
        return found
    except BaseException:
        print(peer.log(), sink.look()[-3:])
        raise
    finally:
        peer.stop()
        sink.stop()


def measure(cell, peer, sink, memory):
    before = warm_up(cell, peer, sink)
    wanted = before + cell.count if cell.mails else 0
    cpu = peer.group.cpu() if peer.group else 0
    commits = syncs(peer.gateway) if isinstance(peer, peers.Postern) else 0
    if memory and peer.group:
        peer.group.watch()
    load = cell.load(peer.address, 0, cell.count, True)
    load.wait()
    if wanted:
        harness.wait_for(lambda: f"{wanted} mails at the sink ({sink.counts()[-1]})",
            lambda: sink.counts()[-1][1][1] >= wanted, 120)
        time.sleep(0.3)  # what is done behind the last reply counts, too
    found = {"cpu": (peer.group.cpu() - cpu) / cell.count * 1000} if peer.group else {}
    if isinstance(peer, peers.Postern):
        commits = syncs(peer.gateway) - commits
    if memory and peer.group:
        found["pss"] = peer.group.end_watch()
    sink.stop()
    start, end = load.counts()[0][0], load.counts()[-1][0]
    found |= {"accepted": cell.count / (end - start), "session_p50": load.figures()["session"][0],
        "session_p99": load.figures()["session"][1]}
    if wanted:
        mails, unique, _, damaged = sink.counts()[-1][1]
        found |= {"delivered": cell.count / (sink.figures()["last"][0] - start), "lost": wanted - unique,
            "repeated": mails - unique, "damaged": damaged}
        if commits:
            found |= {"commits": commits / (sink.figures()["last"][0] - start), "group": cell.count / commits}
        for name, (p50, p99) in (("accept", load.figures()["accept"]), ("relay", sink.figures()["relay"])):
            found |= {f"{name}_p50": p50, f"{name}_p99": p99}
        assert not cell.tls or sink.figures()["sessions"][1] > 0, "nothing came by TLS"
    return found


def peer_kinds(text):
    """For argparse: names of peers, with commas."""
    for name in text.split(","):
        if name not in peers.PEERS:
            raise argparse.ArgumentTypeError(f"there is no peer `{name}`: expected {', '.join(peers.PEERS)}")
    return [peers.PEERS[name] for name in text.split(",")]


def part(text):
    """For argparse: more than 0."""
    if not re.fullmatch(r"[0-9]{1,3}(\.[0-9]{1,6})?", text) or float(text) == 0:
        raise argparse.ArgumentTypeError(f"expected a number such as 0.5, not `{text}`")
    return float(text)


def chosen(cell, kinds):
    return kinds or [kind for kind in peers.PEERS.values() if (kind.usual_with_mail if cell.mails else kind.usual_without)]


def read_runs(file):
    """The runs that a file has; a line that is none ends it all, before something is measured or written."""
    found = []
    for number, line in enumerate(file.read_text().splitlines(), 1):
        try:
            run = json.loads(line)
            cell_text(run["cell"])
            found.append({key: run[key] for key in ("cell", "count", "peer", "turn", "figures", "slow", "machine", "date", "load")})
        except (ValueError, KeyError, TypeError, argparse.ArgumentTypeError):
            sys.exit(f"{file}:{number}: this line is no whole run, perhaps it was cut off: remove it, and only that run is made again")
    return found


class Record:
    """The figures of each run, and in a file, too, if there is one: what is there already is not measured again."""

    def __init__(self, file, slow, measures):
        self.file, self.slow = file, slow
        try:
            if file and measures:
                file.open("a").close()  # it can be written: said now, not after the first run
            self.lines = read_runs(file) if file else []
        except OSError as e:
            sys.exit(f"{file}: {e.strerror}")
        self.machine, self.date, self.load = machine(), str(datetime.date.today()), os.getloadavg()[0]
        if measures and (others := sum(not self.is_ours(line) for line in self.lines)):
            print(f"{file} has {others} runs of another disk, machine or version: they count by themselves", flush=True)

    def is_ours(self, line):
        return line["machine"] == self.machine and line["slow"] == self.slow

    def has(self, cell, name, turn):
        """`turn` -1: the run that looks at the memory."""
        return any(self.is_ours(line) and (line["cell"], line["count"], line["peer"], line["turn"]) == (cell.text, cell.count, name, turn)
            for line in self.lines)

    def add(self, cell, name, turn, figures):
        self.lines.append({"cell": cell.text, "count": cell.count, "peer": name, "turn": turn, "figures": figures, "slow": self.slow,
            "machine": self.machine, "date": self.date, "load": self.load})
        if self.file:
            with self.file.open("a") as file:
                file.write(json.dumps(self.lines[-1]) + "\n")

    def parts(self):
        """[(lines, [(cell, {peer: figures of its runs})])]: what was measured on two machines or disks is never mixed."""
        parts = {}
        for line in self.lines:
            parts.setdefault((line["machine"], line["slow"]), []).append(line)
        return [(lines, cells_of(lines)) for lines in parts.values()]


def cells_of(lines):
    cells = {}
    for line in lines:
        found = cells.setdefault((line["cell"], line["count"]), {})
        found.setdefault(line["peer"], []).append(line["figures"])
    return [(Cell(text, count=count), found) for (text, count), found in cells.items()]


def runs_of(cell, arguments, record):
    """[(cell, peer, turn)] that are not there yet, the peers in turn; memory is looked at in one more run, turn -1, which gives no rates."""
    kinds = chosen(cell, arguments.peers)
    found = [(cell, kind, turn) for turn in range(arguments.pairs) for kind in (kinds if turn % 2 == 0 else kinds[::-1])]
    if not (arguments.no_memory or arguments.slow_disk):
        found += [(cell, kind, -1) for kind in kinds if kind is not peers.Nothing]
    return [(cell, kind, turn) for cell, kind, turn in found if not record.has(cell, kind.name, turn)]


def run_and_keep(cell, kind, turn, pkis, slow, record):
    figures = run(cell, kind, pkis["rsa" if cell.layer == "rsa" else "ec"], turn < 0, slow)
    if turn < 0:
        figures = {key: figures[key] for key in ("pss", "lost", "repeated", "damaged") if key in figures}
    record.add(cell, kind.name, turn, figures)
    print(f"{cell.text} {kind.name}: " + ", ".join(f"{k} {v:,.0f}" if v >= 100 else f"{k} {v:.3g}" for k, v in figures.items()), flush=True)


def values(runs, key):
    return [figures[key] for figures in runs if key in figures]


def median(runs, key):
    found = values(runs, key)
    return statistics.median(found) if found else None


COLUMNS = [("accepted", "accepted/s", 0), ("delivered", "delivered/s", 0), ("cpu", "CPU s/1000", 2),
    ("accept_p50", "accept p50", 1), ("accept_p99", "p99 ms", 1), ("relay_p50", "relay p50", 0),
    ("relay_p99", "p99 ms", 0), ("session_p50", "session p50 ms", 2), ("pss", "PSS MiB", 0), ("commits", "commits/s", 0), ("group", "mails a commit", 1)]


def table(cell, found):
    """Markdown of one cell."""
    columns = [c for c in COLUMNS if any(median(runs, c[0]) is not None for runs in found.values())]
    if cell.mails == 0:
        columns = [("accepted", "sessions/s", 0)] + [c for c in columns if c[0] in ("cpu", "session_p50", "pss")]
    counts = sorted({len(values(runs, "accepted")) for runs in found.values()})
    lines = [f"**{cell}** (`{cell.text}`), {cell.count} {'mails' if cell.mails else 'sessions'} a run, "
        f"{' to '.join(map(str, {counts[0]: 0, counts[-1]: 0}))} run{'s' * (counts[-1] != 1)} each", ""]
    lines += ["| | " + " | ".join(c[1] for c in columns) + " | lost, repeated, damaged |", "|---" * (len(columns) + 2) + "|"]
    for name, runs in found.items():
        cells = [name]
        for key, _, digits in columns:
            value = median(runs, key)
            text = "" if value is None else f"{value:,.{digits}f}"
            if key in ("delivered", "cpu") and len(values(runs, key)) > 1:
                text += f" ({min(values(runs, key)):,.{digits}f} - {max(values(runs, key)):,.{digits}f})"
            cells.append(text)
        cells.append(", ".join(str(sum(r.get(key, 0) for r in runs)) for key in ("lost", "repeated", "damaged")))
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


RATIOS = [("delivered", "delivered"), ("accepted", "accepted"), ("cpu", "CPU"), ("accept_p50", "accept p50"),
    ("accept_p99", "accept p99"), ("relay_p50", "relay p50"), ("session_p50", "session p50"), ("pss", "PSS")]


def ratio(ours, theirs):
    if not ours or not theirs:
        return ""
    return f"{ours / theirs:.2f}" if ours / theirs >= 0.1 else f"{ours / theirs:.3f}"


def ratios(results):
    """Markdown: the medians of this gateway, divided by those of each other peer. A relay takes many times what `nothing` takes: only rates and sessions
    are compared with it."""
    lines = ["| postern divided by | " + " | ".join(title for _, title in RATIOS) + " |", "|---" * (len(RATIOS) + 1) + "|"]
    for cell, found in results:
        for name, runs in found.items():
            if name != "postern" and "postern" in found:
                keys = [key if name != "nothing" or key in ("delivered", "accepted", "session_p50") else "" for key, _ in RATIOS]
                lines.append(f"| {name}, `{cell.text}` | " +
                    " | ".join(ratio(median(found["postern"], key), median(runs, key)) for key in keys) + " |")
    return "\n".join(lines) + "\n"


def report(lines, results):
    """Markdown of one machine and disk."""
    dates = sorted({line["date"] for line in lines})
    loads = sorted({f"{line['load']:.1f}" for line in lines}, key=float)
    head = (f"{lines[0]['machine']}; {', '.join(dates)}; load at the start {' to '.join(loads[:1] + loads[1:][-1:])}."
        f"{' Each sync takes 5 ms more.' if lines[0]['slow'] else ''}")
    return "\n".join([head + "\n", ratios(results), *(table(cell, found) for cell, found in results)]) + "\n"


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--pairs", type=natural, default=7, help="runs of each peer, in turn; 7 unless said")
    parser.add_argument("--scale", type=part, default=1, help="mails in a run, as a part of the usual number")
    parser.add_argument("--peers", type=peer_kinds, help=f"some of {', '.join(peers.PEERS)}; without it Exim has the cells of sessions, tuned Postfix those with mail")
    parser.add_argument("--no-memory", action="store_true", help="no run that looks at the memory")
    parser.add_argument("--slow-disk", action="store_true", help="5 ms more for each sync")
    parser.add_argument("--write", action="store_true", help="all tables of the file into docs/performance.md, in the place of those that are there")
    parser.add_argument("--resume", type=pathlib.Path, help="a file for the figures of each run, as JSON lines; runs it has are not made again")
    parser.add_argument("--read", type=pathlib.Path, help="measure nothing: tables of such a file")
    parser.add_argument("cells", nargs="*", type=cell_text, help=f"LAYER:SIZE:CONNECTIONS:MAILS; without any {', '.join(CELLS)}")
    arguments = parser.parse_args()
    if arguments.write and not (arguments.read or arguments.resume):
        sys.exit("--write replaces all tables of the document: say which file has the runs of all of them, with --resume or --read")
    record = Record(arguments.read or arguments.resume, arguments.slow_disk, not arguments.read)
    if not arguments.read:
        measure_all(record, arguments)
    elif not record.lines:
        sys.exit(f"{arguments.read} has no runs: name a file that --resume wrote")
    text = "".join(report(*part) for part in record.parts())
    print(text)
    if arguments.write:
        write("relay.py", text)


def measure_all(record, arguments):
    runs = [run for text in arguments.cells or CELLS for run in runs_of(Cell(text, arguments.scale), arguments, record)]
    check_binary()
    if missing := next(filter(None, (kind.missing() for _, kind, _ in runs)), None):
        sys.exit(f"{missing}; or leave it out with --peers")
    harness.make_user()
    folder = harness.make_folder()
    print(record.machine, flush=True)
    try:
        pkis = {"ec": make_pki(folder / "ec"), "rsa": make_pki(folder / "rsa", rsa=True)}
        for number, (cell, kind, turn) in enumerate(runs, 1):
            progress(f"run {number} of {len(runs)}: {cell.text} {kind.name}")
            run_and_keep(cell, kind, turn, pkis, arguments.slow_disk, record)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    tools.run(main)
