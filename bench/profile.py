#!/usr/bin/python3
"""Where the processor time of the gateway goes while it relays: shares of each role, and its first functions.

    bench/profile.py [--mails N] [--top N] [CELL]          CELL as for bench/relay.py; needs perf

Roles are told apart by their process. Shares are of all samples; time in the kernel counts as `[kernel]` of its call.
"""

import argparse
import collections
import shutil
import signal
import subprocess
import sys

from tools import check_binary, natural, run
import relay
import harness
import peers


def record(cell, pki, file):
    """{pid: role} after a run under perf."""
    port = int(harness.free_address().rsplit(":", 1)[1])
    sink = cell.sink(pki, port)
    peer = peers.Postern(pki, f"127.1.0.0:{port}", cell.tls)
    try:
        before = relay.warm_up(cell, peer, sink)
        roles = {role["pid"]: name for name, role in peer.gateway.roles().items()}
        perf = subprocess.Popen(["perf", "record", "-q", "-e", "cpu-clock", "-F", "997", "-p", ",".join(map(str, roles)), "-o",
            str(file)])
        cell.load(peer.address, 0, cell.count, True).wait()
        harness.wait_for("all mails came", lambda: sink.counts()[-1][1][1] >= before + cell.count, 120)
        perf.send_signal(signal.SIGINT)
        perf.wait()
        return roles
    finally:
        peer.stop()
        sink.stop()


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--mails", type=natural, default=10000, help="10000 unless said")
    parser.add_argument("--top", type=natural, default=12, help="functions of each role, 12 unless said")
    parser.add_argument("cell", nargs="?", type=relay.cell_text, default="tls:4096:20:10", help="as for bench/relay.py")
    arguments = parser.parse_args()
    check_binary()
    if shutil.which("perf") is None:
        sys.exit("perf is not there: apt-get install linux-perf")
    harness.make_user()
    folder = harness.make_folder()
    try:
        cell = relay.Cell(arguments.cell, count=arguments.mails)
        roles = record(cell, relay.make_pki(folder / "ec"), folder / "perf.data")
        done = harness.run("perf", "script", "-i", folder / "perf.data", "-F", "pid,ip,sym,dso", timeout=300)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    found = collections.defaultdict(collections.Counter)
    for line in done.stdout.splitlines():
        words = line.split(maxsplit=2)
        symbol, _, library = words[2].rpartition(" (")
        symbol = symbol.strip() or "[unknown]"
        found[roles.get(int(words[0]), words[0])][f"{symbol} ({library.rstrip(')').rsplit('/', 1)[-1]})"] += 1
    total = sum(sum(symbols.values()) for symbols in found.values())
    for role, symbols in sorted(found.items(), key=lambda item: -sum(item[1].values())):
        places = collections.Counter()
        for name, count in symbols.items():
            places[name.rsplit(" (", 1)[1].rstrip(")")] += count
        print(f"{role}: {100 * sum(symbols.values()) / total:.1f} %, in " +
            ", ".join(f"{name} {100 * count / total:.1f}" for name, count in places.most_common(6)))
        for name, count in symbols.most_common(arguments.top):
            if count * 1000 >= total:
                print(f"    {100 * count / total:5.1f} %  {name}")


run(main)
