#!/usr/bin/python3
"""From the start of a server to its first greeting, and the time of a check of its configuration, in turn with Postfix.

    bench/start.py [--runs N] [--write]
"""

import argparse
import contextlib
import shutil
import socket
import subprocess
import sys
import time

from tools import check_binary, figures_table, heading, natural, run, say, write
import harness
import peers


def greeting(address, start, patience=30):
    """ms from `start` to the first 220."""
    while True:
        with contextlib.suppress(OSError), socket.create_connection(address, timeout=patience) as s:
            if s.recv(100).startswith(b"220"):
                return 1000 * (time.monotonic() - start)
        assert time.monotonic() < start + patience, "no greeting came"
        time.sleep(0.001)


def timed(*command):
    start = time.monotonic()
    subprocess.run([str(c) for c in command], check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        env=harness.environment())
    return 1000 * (time.monotonic() - start)


def ours(pki):
    """(check, first start, start over a queue that exists), each in ms."""
    port = int(harness.free_address().rsplit(":", 1)[1])
    gateway = peers.Gateway(pki, peers.settings("127.0.0.1:9", True, port))
    gateway.group = peers.Group("start")
    try:
        found = [timed(harness.BINARY, "-c", gateway.file, "check")]
        for _ in range(2):
            start = time.monotonic()
            gateway.start(wait=False)
            found.append(greeting(("127.0.0.1", port), start))
            gateway.stop()
        return found
    finally:
        gateway.discard()
        gateway.group.remove()


def postfix(pki):
    """(check, start) in ms; only its master is started, without the script around it, which takes longer."""
    peer = peers.Postfix(pki, "127.0.0.1:9", True)
    try:
        check = timed("postfix", "-c", peer.folder / "etc", "check")
        peer.end()
        start = time.monotonic()
        peer.launch_master()
        return check, greeting(peer.address, start)
    finally:
        peer.stop()


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--runs", type=natural, default=7, help="7 unless said")
    parser.add_argument("--write", action="store_true", help="the table into docs/performance.md")
    arguments = parser.parse_args()
    check_binary()
    if missing := peers.Postfix.missing():
        sys.exit(missing)
    harness.make_user()
    head = heading()
    print(head, flush=True)
    folder = harness.make_folder()
    try:
        pki = harness.Pki(folder / "pki")
        turns = [(ours(pki), postfix(pki)) for _ in range(arguments.runs)]
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    text = figures_table(head,
        say("check", [o[0] for o, _ in turns], "ms", "10"),
        say("the same, postfix check", [p[0] for _, p in turns], "ms"),
        say("start to the first greeting, no queue yet", [o[1] for o, _ in turns], "ms", "24"),
        say("start to the first greeting, a queue is there", [o[2] for o, _ in turns], "ms", "24"),
        say("the same, Postfix's master", [p[1] for _, p in turns], "ms"))
    if arguments.write:
        write("start.py", text)


run(main)
