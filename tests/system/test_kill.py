"""kill -9 of every role, at random moments, while many mails are between DATA and 250: no promised mail is lost, and none is delivered twice
but those whose outcome was not recorded at the kill.

Before each kill all processes are stopped, so that what is where at that moment is known and not guessed: the states of docs/queue.md are
counted in a copy of the store, and the clients and the server behind (storm.py) have heard all that was said. Slow syncs and slow removals
(the fault shim) make every state last long enough to be hit.

POSTERN_KILLS=N makes N kills instead of the number below; POSTERN_SEED repeats a run's moments.
"""

import collections
import contextlib
import os
import pathlib
import random
import re
import shutil
import signal
import sqlite3
import tempfile

import pytest

import harness
from faults import Faults
from storm import Storm

KILLS = int(os.environ.get("POSTERN_KILLS", "30"))
CLIENTS = 30
ROLES = ("front", "queue", "deliver", "resolver", "keys", "upkeep", "admin")
IN_DATA = 10  # transactions that are between DATA and 250 at each kill, at least
HITS = 10 * KILLS // 30  # kills at which each state was there, at least
STATES = ("S1", "S2", "S3", "S4", "S5", "S6", "S7")


# What is where


class Snapshot:
    """The store at a moment at which nothing moves: from a copy of its files, so that nothing of it is touched."""

    def __init__(self, state):
        with tempfile.TemporaryDirectory() as place:
            for name in ("queue.db", "queue.db-wal", "track.db", "track.db-wal"):
                if (state / name).exists():
                    shutil.copy(state / name, place)
            db = sqlite3.connect(f"{place}/queue.db")
            assert db.execute("PRAGMA integrity_check").fetchone() == ("ok",)
            rows = db.execute("SELECT sender, address, state, attempts, message.mid FROM message JOIN recipient USING (mid)").fetchall()
            db.close()
            db = sqlite3.connect(f"{place}/track.db")
            assert db.execute("PRAGMA integrity_check").fetchone() == ("ok",)
            moved = db.execute("SELECT sender, mid FROM message").fetchall()
            db.close()
        self.moved = {token_of(sender) for sender, _ in moved}
        self.tokens = {token_of(sender) for sender, *_ in rows}
        self.live = {(token_of(sender), address) for sender, address, live, *_ in rows if live == 0}
        self.live_tokens = {token for token, _ in self.live}
        self.tried = {token_of(sender) for sender, _, live, attempts, _ in rows if live == 0 and attempts > 0} \
            | {token_of(sender) for sender, _, live, *_ in rows if live != 0} & self.live_tokens
        self.mids = {token_of(sender): mid for sender, mid in moved + [(row[0], row[4]) for row in rows]}
        self.files = {token_in(path) for path in (state / "content").iterdir()}


def token_of(sender):
    return sender.split("@")[0]


def token_in(path):
    with open(path, "rb") as file:
        found = re.search(rb"^Subject: (t\d+)", file.read(4096), re.M)
    return found and found[1].decode()


def states(storm, snapshot):
    """How many mails are in each state of docs/queue.md."""
    delivering = {last.token for last in storm.open_sessions.values() if last is not None
        and (not last.accepted or any((last.token, recipient) in snapshot.live for recipient in last.recipients))}
    hits = collections.Counter()
    for mail in storm.mails.values():
        token = mail.token
        if token in snapshot.live_tokens:
            hits["S4" if token in delivering else "S5" if token in snapshot.tried else "S3"] += 1
        elif token in snapshot.tokens:
            hits["S6"] += 1
        elif token in snapshot.moved:
            hits["S7"] += 1
        elif mail.state == "data":
            hits["S2" if token in snapshot.files else "S1"] += 1
    return hits


# The processes


class Processes:
    """The roles by the log of the gateway."""

    def __init__(self, gateway):
        self.gateway, self.place, self.pids = gateway, 0, {}

    def look(self):
        with open(self.gateway.errors, "rb") as log:
            log.seek(self.place)
            new = log.read()
            new = new[:new.rfind(b"\n") + 1]
            self.place += len(new)
        for name, pid in re.findall(r" role_started name=(\w+) pid=(\d+)", new.decode()):
            self.pids[name] = int(pid)
        if self.gateway.process is not None:
            self.pids["master"] = self.gateway.process.pid
        return self.pids

    def alive(self):
        return [pid for pid in self.look().values() if harness.is_alive(pid)]


def is_still(pid):
    """Every thread is stopped."""
    try:
        return all(stat.read_text().rsplit(")", 1)[1].split()[0] in "TZX" for stat in pathlib.Path(f"/proc/{pid}/task").glob("*/stat"))
    except FileNotFoundError:
        return False


class Stillness:
    """Within it all processes of the gateway stand still, and everything they said has been heard."""

    def __init__(self, storm, pids):
        self.storm, self.pids = storm, pids

    def __enter__(self):
        for pid in self.pids:
            os.kill(pid, signal.SIGSTOP)
        for pid in self.pids:
            harness.wait_for(f"{pid} stands still", lambda: is_still(pid))
        self.storm.settle()
        return self

    def __exit__(self, *unused):
        for pid in self.pids:
            with contextlib.suppress(ProcessLookupError):  # the one that was killed, once master has seen it
                os.kill(pid, signal.SIGCONT)


class Battle:
    """One gateway, its clients and the server behind it, and what has happened to them."""

    def __init__(self, gateway, storm, faults, dice):
        self.gateway, self.storm, self.faults, self.dice = gateway, storm, faults, dice
        self.state = gateway.folder / "state"
        self.processes = Processes(gateway)
        self.excused = collections.Counter()  # (token, recipient) -> kills at which it was taken, and that not recorded
        self.hits = collections.Counter()     # state -> kills at which a mail was in it
        self.mails = collections.Counter()    # state -> mails
        self.in_data = []                     # transactions between DATA and 250, for each kill
        self.kills = collections.Counter()

    def make_slow(self):
        self.faults.set(["queue sync state/ 30000us", "queue unlink content/ 120000us"])

    def excuse(self, snapshot):
        for delivery in self.storm.accepted():
            if delivery in snapshot.live:
                self.excused[delivery] += 1

    def count(self, hits, in_data):
        self.hits.update(hits.keys())
        self.mails.update(hits)
        self.in_data.append(in_data)

    def kill(self, name):
        """One kill -9 at a random moment, if it can be while a mail is in the state that was hit least; returns when the role is back."""
        storm, pids = self.storm, self.processes.look()
        rarest = min(STATES, key=lambda state: self.hits[state])
        turns = self.dice.randrange(10, 60)
        for attempt in range(200):
            for _ in range(turns if attempt == 0 else 3):
                storm.turn()
            with Stillness(storm, list(pids.values())):
                in_data = len(storm.in_data())
                if in_data < IN_DATA:
                    continue
                snapshot = Snapshot(self.state)
                hits = states(storm, snapshot)
                if rarest not in hits and attempt < 10:
                    continue
                self.count(hits, in_data)
                if name == "deliver":
                    self.excuse(snapshot)
                os.kill(pids[name], signal.SIGKILL)
            break
        else:
            raise AssertionError(f"never {IN_DATA} transactions at once between DATA and 250")
        self.kills[name] += 1
        if name == "master":
            self.start_again(pids)
        else:
            before = pids[name]
            storm.until(lambda: f"{name} is back\n" + self.gateway.stderr()[-3000:], lambda: self.processes.look()[name] != before, 60)

    def start_again(self, pids):
        """Master was killed: all end, and until then deliver may go on."""
        self.gateway.process.wait()
        self.gateway.process = None
        self.gateway.log.close()
        self.storm.address = None
        old = list(pids.values())
        self.storm.until("the roles have ended", lambda: not any(harness.is_alive(pid) for pid in old))
        self.storm.settle()
        self.excuse(Snapshot(self.state))
        self.start()

    def start(self):
        self.gateway.start(wait=False)
        self.storm.until(lambda: "the gateway runs\n" + self.gateway.stderr()[-3000:],
            lambda: {name for name, pid in self.processes.look().items() if harness.is_alive(pid)} == {"master", *ROLES})
        self.storm.until("the gateway answers `status`", self.gateway.is_ready)
        self.storm.address = self.gateway.address()

    def end(self):
        """Quick again, no new mail, and everything is delivered."""
        self.faults.clear()
        storm = self.storm
        storm.sending = False
        storm.until("the clients have heard their replies", lambda: storm.live_clients == 0)

        def is_empty():
            storm.turn()
            return self.gateway.counters()["queued"] == 0

        storm.until(lambda: f"everything is delivered; queued: {self.gateway.counters()['queued']}", is_empty, 120)

    # What must hold

    def lost(self):
        taken = self.storm.accepted()
        return [(mail.token, recipient) for mail in self.storm.mails.values() if mail.code == 250
            for recipient in mail.recipients if taken[(mail.token, recipient)] == 0]

    def unexcused(self):
        return {delivery: count for delivery, count in self.storm.accepted().items() if count - 1 > self.excused[delivery]}

    def duplicates(self):
        return sum(count - 1 for count in self.storm.accepted().values())

    def report(self):
        heard = collections.Counter(mail.code or mail.state for mail in self.storm.mails.values())
        lines = ["", f"{sum(self.kills.values())} kills ({', '.join(f'{name} {n}' for name, n in sorted(self.kills.items()))}), "
            f"each with at least {min(self.in_data)} transactions between DATA and 250 (median {sorted(self.in_data)[len(self.in_data) // 2]})",
            f"{len(self.storm.mails)} mails: 250 {heard[250]}, 4xx {sum(heard[code] for code in heard if code in (421, 451, 452))}, "
            f"cut {heard['cut']}; lost {len(self.lost())}, delivered again {self.duplicates()}, of these excused "
            f"{self.duplicates() - sum(count - 1 - self.excused[d] for d, count in self.unexcused().items())}"]
        lines += [f"{state} at {self.hits[state]:3} kills, {self.mails[state]:5} mails" for state in STATES]
        return "\n".join(lines)


def victims(dice, count):
    """A few of each role, then master: its end takes their growing pauses away."""
    order = []
    while len(order) < count:
        some = [*ROLES, "front", "queue", "deliver"]
        dice.shuffle(some)
        order += [*some, "master"]
    return order[:count]


@pytest.fixture
def battle(make_gateway):
    seed = int(os.environ.get("POSTERN_SEED", random.randrange(1 << 20)))
    print(f"POSTERN_SEED={seed}")
    gateway = make_gateway(start=False)
    faults = Faults(gateway)
    storm = Storm()
    gateway.configure(harness.settings(next_hop=storm.next_hop, delivery={"retry": ["500ms"], "concurrency": 15, "connections": 20},
        delivery_tls="none", metrics={"address": "127.0.0.1:0"},
        limits={"rate": 1_000_000, "connections_per_network": 1000, "min_free_space": 0, "min_free_inodes": 0}))
    made = Battle(gateway, storm, faults, random.Random(seed))
    made.start()
    yield made
    storm.close()


def test_11_21_11_22_11_24_11_25_11_32_kill_9_of_every_role(battle, capsys):
    battle.make_slow()
    battle.storm.clients = CLIENTS
    for name in victims(battle.dice, KILLS):
        battle.kill(name)
    battle.end()
    with capsys.disabled():
        print(battle.report())
    assert battle.lost() == [], "lost, though the client heard 250"
    assert battle.unexcused() == {}, "delivered again, though its outcome was recorded or queue kept the lease"
    taken = [t for t in battle.storm.transactions if t.accepted]
    assert all(t.whole for t in taken), "what is delivered is what was sent"
    assert not {t.token for t in taken if not battle.storm.mails[t.token].sent_all}, "delivered, though it never came in whole"
    assert min(battle.in_data) >= IN_DATA
    assert all(battle.hits[state] >= HITS for state in STATES), "each state must be hit more often"
