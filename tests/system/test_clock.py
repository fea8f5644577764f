"""The wall clock jumps while mail waits: by ten years, forward and back, with the gateway running and between two runs."""

import email
import re
import shutil
import struct
import subprocess

import pytest

import harness
import smtp

TEN_YEARS = 315_576_000


class Clock:
    """The offset of the wall clock of every program that is started while this is in force."""

    def __init__(self, folder):
        self.file = folder / "OFFSET"
        self.set(0)

    def set(self, seconds):
        self.file.touch()
        with open(self.file, "r+b") as f:
            f.write(struct.pack("=q", seconds))


@pytest.fixture
def clock(monkeypatch):
    """Preloads tests/clock/shim.c; only sanitized builds hand it to the roles."""
    shim = harness.BINARY.parent / "tests/clock/clock.so"
    if b"libasan.so" not in harness.BINARY.read_bytes() or not shim.exists():
        pytest.skip("only sanitized builds let the clock be set")
    folder = harness.make_folder()
    shutil.copy(shim, folder / "clock.so")
    runtime = subprocess.run(["gcc", "-print-file-name=libasan.so"], capture_output=True, text=True, check=True).stdout
    monkeypatch.setenv("LD_PRELOAD", f"{runtime.strip()} {folder}/clock.so")
    yield Clock(folder)
    shutil.rmtree(folder)


@pytest.fixture
def waiting(clock, make_gateway, make_peer, make_sink):
    """A gateway with a mail that waits; its sender's reports go to waiting.back."""

    def make(**delivery):
        make.peer = make_peer(rcpt="450 4.2.2 mailbox full")
        make.back = make_sink()
        gateway = make_gateway(harness.settings(routes=[{"domain": "good.test", "next_hop": make.peer.address},
            {"domain": "sender.test", "next_hop": make.back.address}], delivery={"retry": ["200ms"], **delivery}))
        smtp.submit(gateway.address(), "alice@sender.test", "bob@good.test", harness.message())
        return gateway

    return make


def attempts(gateway):
    return len(gateway.track(recipient="bob@good.test")[0]["recipients"][0]["attempts"])


def go_on(gateway):
    """Three more attempts are made."""
    before = attempts(gateway)
    harness.wait_for("three more attempts", lambda: attempts(gateway) >= before + 3)


def jumps(gateway):
    return [int(s) for s in re.findall(r" error queue clock_jumped seconds=(-?\d+) ", gateway.stderr())]


@pytest.mark.parametrize("jump", [TEN_YEARS, -TEN_YEARS])
def test_11_35_a_jump_returns_nothing_and_stops_nothing(clock, waiting, jump):
    gateway = waiting(expire="1h", delay_warning="30m")
    go_on(gateway)
    with smtp.Client(gateway.address()) as client:
        client.do("EHLO client.test")
        clock.set(jump)
        go_on(gateway)
        assert client.do("NOOP").code == 250, "its deadlines do not follow the wall clock"
    harness.wait_for("the jump is an event", lambda: jumps(gateway))
    assert abs(jumps(gateway)[0] - jump) <= 1
    gateway.kill_all()
    gateway.start()
    go_on(gateway)
    gateway.stop()
    clock.set(0)  # set right while it is off
    gateway.start()
    go_on(gateway)
    assert gateway.counters()["bounced"] == 0 and waiting.back.messages == []
    waiting.peer.replies["RCPT"] = "250 2.1.5 ok"
    gateway.tracked("delivered", recipient="bob@good.test")


@pytest.mark.parametrize("jump", [TEN_YEARS, -TEN_YEARS])
def test_11_35_mail_that_came_before_a_jump_still_expires(clock, waiting, jump):
    gateway = waiting(expire="3s", delay_warning=0)
    clock.set(jump)
    (line,) = waiting.back.wait()
    assert b"Status: 5.4.7" in waiting.back.content(line)


def test_11_37_ids_differ_though_the_clock_repeats(clock, waiting):
    gateway = waiting(expire="3s", delay_warning=0)
    waiting.back.wait()
    gateway.stop()
    clock.set(-60)
    gateway.start()
    smtp.submit(gateway.address(), "alice@sender.test", "bob@good.test", harness.message())
    reports = [email.message_from_bytes(waiting.back.content(line)) for line in waiting.back.wait(2)]
    assert len({r["Message-ID"] for r in reports}) == 2
    records = gateway.track(recipient="bob@good.test")
    assert len({r["mid"] for r in records}) == 2
    assert len({r["inbound"]["icid"] for r in records}) == 2
    dcids = [a["dcid"] for r in records for a in r["recipients"][0]["attempts"]]
    first, second = ({a["dcid"] for a in r["recipients"][0]["attempts"]} for r in records)
    assert dcids and not first & second


def test_B20_each_step_towards_the_end_of_a_certificate_is_told_once(clock, make_gateway):
    """Its chain ends in 90 days. A reload looks again; the gateway does so by itself every hour."""
    gateway = make_gateway(harness.settings())
    for jump in (0, 60.5, 61.5, 76.5, 83.5, 89.5, 90.5, 91.5, 97.5, 104.5, 120.5, 130):
        clock.set(int(jump * 86400))
        assert gateway.command("reload").returncode == 0
        assert gateway.generation() > 1  # answered after the look
    found = re.findall(r" master certificate_expire([sd]) certificate=main ends=\S+ days=(\d+)$", gateway.stderr(), re.M)
    days = [(word, int(n)) for word, n in found]
    assert days == [("s", 29), ("s", 13), ("s", 6), ("s", 0), ("d", 0), ("d", 1), ("d", 7), ("d", 14), ("d", 30)], days
    assert gateway.status()["certificates"][0]["state"] == "expired"
