"""A role that hangs: master notices that it does not answer, ends it, starts it again, and no accepted mail is lost.

All of it takes as long as master waits for an answer, half a minute, so every case has a gateway of its own, and all wait at once."""

import os
import re
import signal
import threading

import pytest

import faults
import harness
import smtp

ROLES = ["front", "queue", "deliver", "resolver", "keys", "upkeep", "admin"]
PATIENCE = 120


class Case:
    """A gateway, and a client that hands over mail all the time."""

    def __init__(self, pki, sink):
        self.gateway = harness.Gateway(pki, harness.settings(next_hop=sink.address, metrics={"address": "127.0.0.1:0"},
            delivery={"retry": ["200ms"]}))
        self.tried, self.accepted = 0, []
        self.end = threading.Event()
        self.thread = threading.Thread(target=self._feed)

    def start(self):
        self.gateway.start()
        self.before = self.gateway.roles()
        self.address = self.gateway.address()
        self.thread.start()
        self.feed_more()
        return self

    def _feed(self):
        while not self.end.is_set():
            self.tried += 1
            sender = f"n{self.tried}@{self.gateway.folder.name}.test"
            try:
                smtp.submit(self.address, sender, "bob@good.test", harness.message(sender=sender))
                self.accepted.append(sender)
            except (AssertionError, OSError, smtp.Closed):
                self.end.wait(0.1)  # it does not answer, or 451

    def feed_more(self):
        count = len(self.accepted) + 3
        harness.wait_for("three more mails are taken", lambda: len(self.accepted) >= count, PATIENCE)

    def finish(self):
        self.end.set()
        self.thread.join()

    def pid(self, name):
        return self.before[name]["pid"]

    def silent(self):
        return re.findall(r" error master role_silent name=(\w+) pid=(\d+) silent_ms=(\d+) ", self.gateway.stderr())


@pytest.fixture(scope="module")
def cases(pki):
    """name -> Case: one role stands still from now on, or what the name says."""
    with harness.Sink(pki) as sink:
        made = {name: Case(pki, sink) for name in [*ROLES, "frozen", "slow disk"]}
        try:
            if faults.runtime():
                made["slow disk"].faults = faults.Faults(made["slow disk"].gateway)
            for case in made.values():
                case.start()
                case.sink = sink
            if faults.runtime():
                still = made["slow disk"].faults
                still.set(["queue sync state/ 90000000us"])
                harness.wait_for("queue waits for the disk", still.hits)
            for name in ROLES:
                os.kill(made[name].pid(name), signal.SIGSTOP)
            for role in made["frozen"].before.values():
                os.kill(role["pid"], signal.SIGSTOP)
            yield made
        finally:
            for case in made.values():
                case.end.set()
            for case in made.values():
                if case.gateway.process is not None:
                    for role in case.before.values():
                        signal_if_there(role["pid"], signal.SIGCONT)
            for case in made.values():
                if case.thread.is_alive():
                    case.thread.join()
                case.gateway.discard()


def signal_if_there(pid, number):
    try:
        os.kill(pid, number)
    except ProcessLookupError:
        pass


def replaced(case, name):
    def check():
        role = case.gateway.roles()[name]
        return role["up"] and role["pid"] != case.pid(name) and role
    return harness.wait_for(f"{name} is replaced", check, PATIENCE)


@pytest.mark.parametrize("name", ROLES)
def test_reload_names_the_role_that_does_not_answer(cases, name):
    """Whether it begins at once or when the role has been silent for a while, it does not wait for its end."""
    gateway = cases[name].gateway
    for _ in range(2):
        done = gateway.command("reload", timeout=25)
        if done.returncode == 1:
            status = gateway.command("status", timeout=10).stdout
            assert "pid %-7d does not answer, " % cases[name].pid(name) in status or cases[name].silent(), "it was replaced meanwhile"
        if done.returncode == 0:
            assert cases[name].silent(), "it was replaced meanwhile"
            return
        assert done.returncode == 1, done
        assert f"role {name} does not answer; it is started again when it has been silent for 30 s" in done.stderr + done.stdout
        assert gateway.file.name not in done.stderr + done.stdout, "nothing is wrong with the file"


@pytest.mark.parametrize("name", ROLES)
def test_a_role_that_hangs_is_replaced_and_no_mail_is_lost(cases, name):
    case = cases[name]
    assert replaced(case, name)["restarts"] == 1
    assert {n: r["pid"] for n, r in case.gateway.roles().items() if n != name} == \
        {n: r["pid"] for n, r in case.before.items() if n != name}, "nobody else was"
    ((who, pid, ms),) = case.silent()
    assert (who, int(pid)) == (name, case.pid(name)) and int(ms) == 30_000
    assert f" role_died name={name} pid={pid} status=-1 signal=9 " in case.gateway.stderr()
    case.feed_more()
    case.finish()
    delivered = lambda: set(case.accepted) - {line["sender"] for line in case.sink.messages}  # noqa: E731
    harness.wait_for(lambda: f"every mail arrives, {delivered()} did not", lambda: not delivered(), PATIENCE)
    assert case.gateway.command("reload").returncode == 0
    case.gateway.stop()


def test_a_gateway_that_was_suspended_ends_nobody(cases):
    """Master and all roles stood still for longer than a role may be silent; master is the first that goes on."""
    case = cases["frozen"]
    gateway = case.gateway
    harness.wait_for("others were ended meanwhile", cases["queue"].silent, PATIENCE)
    os.kill(gateway.process.pid, signal.SIGCONT)
    harness.wait_for("master sees that nobody answers",
        lambda: not any(role["up"] for name, role in gateway.roles().items() if name != "master"))
    for role in case.before.values():
        os.kill(role["pid"], signal.SIGCONT)
    harness.wait_for("all are there", lambda: all(role["up"] for role in gateway.roles().values()))
    case.feed_more()
    assert case.silent() == [] and gateway.roles() == case.before
    case.finish()
    gateway.stop()


def test_a_disk_that_stands_still_ends_nobody(cases):
    """`queue` waits for a sync for longer than a role may be silent, and answers."""
    case = cases["slow disk"]
    if not faults.runtime():
        pytest.skip("only sanitized builds hand LD_PRELOAD to the roles")
    harness.wait_for("others were ended meanwhile", cases["queue"].silent, PATIENCE)
    assert case.silent() == [] and case.gateway.roles() == case.before
    assert len(case.faults.hits()) <= 2, "it still waits"
