#!/usr/bin/python3
"""System calls of one relayed mail, counted by strace in a fixed run: a guard against regressions that no clock disturbs.

    bench/quick.py [--mails N] [--connections N] [--runs N] [--top N]

The same run without mail is taken off. How many wake-ups and commits a mail takes is a matter of chance, so each run has some calls more or less: the
least and the most are printed beside the median. A change that moves the median out of that range counts.
"""

import argparse
import collections
import re
import shutil
import statistics

from tools import TOOLS, Counted, check_binary, natural, run
import harness
import peers
import relay


class Traced(peers.Gateway):
    """A gateway whose system calls are counted; strace prints when all roles have ended."""

    def start(self, wait=True):
        binary, harness.BINARY = harness.BINARY, self.folder / "traced"
        harness.BINARY.write_text(f'#!/bin/sh\nexec strace -D -f -qq -c -U name,calls -o "{self.folder}/calls" "{binary}" "$@"\n')
        harness.BINARY.chmod(0o755)
        try:
            super().start(wait=False)
        finally:
            harness.BINARY = binary
        if wait:
            harness.wait_for(lambda: "the gateway answers `status`\n" + self.stderr(), self.is_ready, 60)
        return self

    def calls(self):
        found = collections.Counter()
        for line in (self.folder / "calls").read_text().splitlines():
            if match := re.fullmatch(r"\s*(\w+)\s+(\d+)\s*", line):
                found[match[1]] = int(match[2])
        del found["total"]
        return found


def count(pki, tls, mails, connections):
    """Calls of a gateway from its start to its end, with so many mails in between."""
    port = int(harness.free_address().rsplit(":", 1)[1])
    cell = relay.Cell(f"{'tls' if tls else 'plain'}:4096:{connections}:10", count=mails)
    sink = cell.sink(pki, port)
    gateway = Traced(pki, peers.settings(f"127.1.0.0:{port}", tls))
    gateway.group = peers.Group("quick")
    try:
        with gateway:
            if mails:
                cell.load(gateway.address(), 0, mails, True).wait()
                harness.wait_for("all mails came", lambda: sink.counts()[-1][1][1] >= mails, 60)
        harness.wait_for("strace ended", lambda: not gateway.group.pids())
        return gateway.calls()
    finally:
        sink.stop()
        gateway.discard()
        gateway.group.remove()


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--mails", type=natural, default=400, help="in a run, 400 unless said")
    parser.add_argument("--connections", type=natural, default=1, help="1 unless said")
    parser.add_argument("--runs", type=natural, default=5, help="5 unless said")
    parser.add_argument("--top", type=natural, default=12, help="system calls to print, 12 unless said")
    arguments = parser.parse_args()
    check_binary()
    harness.make_user()
    folder = harness.make_folder()
    try:
        pki = relay.make_pki(folder / "ec")
        for tls in (False, True):
            idle = count(pki, tls, 0, arguments.connections)
            runs = [count(pki, tls, arguments.mails, arguments.connections) for _ in range(arguments.runs)]
            each = {name: [(busy[name] - idle[name]) / arguments.mails for busy in runs] for name in set().union(*runs)}
            say(f"{'STARTTLS on both legs' if tls else 'in clear'}, 4 KiB, {arguments.connections} at once, 10 a session", map(sum, zip(*each.values())))
            for name, calls in sorted(each.items(), key=lambda item: -statistics.median(item[1]))[:arguments.top]:
                say(f"    {name}", calls)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def say(name, values):
    values = list(values)
    print(f"{name:50} {statistics.median(values):8.2f} system calls a mail ({min(values):.2f} - {max(values):.2f})")


run(main)
