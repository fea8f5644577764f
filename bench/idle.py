#!/usr/bin/python3
"""Memory of idle sessions: STARTTLS (ECDSA P-256, TLS 1.3), EHLO, and then silence: bench/README.md says what the system must allow.

    bench/idle.py [--sessions N] [--clients N] [--runs N] [--write]
"""

import argparse
import pathlib
import resource
import shutil
import sys
import time

from tools import TOOLS, Counted, Group, check_binary, figures_table, heading, natural, progress, pss, say, write
import tools
import harness
import peers

AT_ONCE = 50  # sessions that a client opens at once
SPARE = 1000  # descriptors, threads and so on for all else


def settings(sessions):
    """Limits so high that idle sessions of one network may stay."""
    limits = {"connections": sessions + SPARE, "connections_per_network": sessions + SPARE, "rate": 1000000, "idle_time": "1h",
        "session_time": "1d"}
    return peers.settings("127.0.0.1:9", True) | {"limits": limits}


def number(file):
    return int(pathlib.Path(file).read_text())


def check_system(sessions):
    """What would stop so many sessions, or the sentences that say so and what helps. Raises the limit of descriptors for this run."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = sessions + SPARE
    found = [(hard, wanted, "descriptors of a process", f"ulimit -Hn {wanted}"),
        # a stack and its guard for each session
        (number("/proc/sys/vm/max_map_count"), 2 * wanted, "mappings of a process", f"sysctl vm.max_map_count={2 * wanted}"),
        (number("/proc/sys/kernel/threads-max"), wanted, "threads", f"sysctl kernel.threads-max={4 * wanted}"),
        (number("/proc/sys/kernel/pid_max"), wanted, "ids of threads", f"sysctl kernel.pid_max={4 * wanted}")]
    low = [f"{sessions} sessions need {need} {what}, {have} are allowed: {cure}" for have, need, what, cure in found if have < need]
    if not low:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
    return low


def status(pid, key):
    for line in pathlib.Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith(key + ":"):
            return int(line.split()[1])
    return 0


def load(address, *options):
    return Counted(TOOLS / "load", "-t", "1.3", *options[:-2], *address, options[-2], 0, options[-1], 4096, 1)


def hold(address, sessions, clients):
    """Clients whose sessions stay, when all are there; how long that took."""
    start = time.monotonic()
    shares = [sessions // clients + (i < sessions % clients) for i in range(clients)]
    held = [load(address, "-k", min(AT_ONCE, share), share) for share in shares]

    def all_held():
        assert all(client.process.poll() is None for client in held), "the gateway ended a session"
        return sum(client.counts()[-1][1][0] for client in held if client.counts()) == sessions

    harness.wait_for(lambda: f"{sessions} sessions ({[client.counts()[-1] for client in held]})", all_held, 60 + sessions / 50)
    return held, time.monotonic() - start


def run(pki, sessions, clients):
    """{role: (MiB before, MiB after)} and more about the role that has the sessions."""
    gateway = peers.Gateway(pki, settings(sessions))
    gateway.group = Group("idle")
    held = []
    try:
        with gateway:
            address = gateway.address()
            load(address, "-m", 0, 1, 20).wait(60)  # what the first session needs is there
            pids = {name: role["pid"] for name, role in gateway.roles().items()}
            before = {name: pss(pid) for name, pid in pids.items()}
            held, seconds = hold(address, sessions, clients)
            time.sleep(1)
            after = {name: pss(pid) for name, pid in pids.items()}
            found = {"roles": {name: (before[name], after[name]) for name in pids}, "rate": sessions / seconds,
                "threads": status(pids["front"], "Threads"), "tables": status(pids["front"], "VmPTE")}
            assert {name: role["pid"] for name, role in gateway.roles().items()} == pids, "a role was restarted"
            for client in held:
                client.stop()
            return found
    except BaseException:
        print(gateway.stderr()[-2000:], file=sys.stderr)
        raise
    finally:
        for client in held:
            client.process.kill()
        gateway.discard()
        gateway.group.remove()


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--sessions", type=natural, default=10000, help="10000 unless said")
    parser.add_argument("--clients", type=natural, default=2, help="processes that hold them, 2 unless said")
    parser.add_argument("--runs", type=natural, default=3, help="3 unless said")
    parser.add_argument("--write", action="store_true", help="the table into docs/performance.md")
    arguments = parser.parse_args()
    check_binary()
    if low := check_system(arguments.sessions):
        sys.exit("\n".join(low))
    harness.make_user()
    head = heading()
    print(head, flush=True)
    folder = harness.make_folder()
    found = []
    try:
        pki = harness.Pki(folder / "pki")
        for turn in range(arguments.runs):
            progress(f"run {turn + 1} of {arguments.runs}: {arguments.sessions} sessions")
            found.append(run(pki, arguments.sessions, arguments.clients))
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    sums = [[sum(role[i] for role in f["roles"].values()) for i in (0, 1)] for f in found]
    rows = [say(f"{arguments.sessions:,} idle TLS sessions: PSS of all roles for each",
        [1024 * (after - before) / arguments.sessions for before, after in sums], "KiB", "110"),
        say("PSS of all roles before", [before for before, _ in sums], "MiB"),
        say("PSS of all roles with them", [after for _, after in sums], "MiB")]
    for name in found[0]["roles"]:
        rows.append(say(f"growth of {name}", [f["roles"][name][1] - f["roles"][name][0] for f in found], "MiB"))
    rows += [say("threads of front", [f["threads"] for f in found], "threads"),
        say("page tables of front, not in the PSS", [f["tables"] / 1024 for f in found], "MiB"),
        say("sessions opened", [f["rate"] for f in found], "/s")]
    if arguments.write:
        write("idle.py", figures_table(head, *rows))


tools.run(main)
