"""A day with the queue: what an administrator did who had only the README and the pages it names, in his order and with his commands
(only ports and names are ours). A mail server that is away, orders, a backup, kills, a damaged disk."""

import collections
import json
import os
import re
import signal

import pytest

import harness
import smtp

SENDERS = ["anna@sender.test", "bert@sender.test", "carl@sender.test"]
WAITS = {"retry": ["15m"]}


def house(next_hop, other, **more):
    return harness.settings(accepted_domains=["good.test", "other.test"], delivery=WAITS, routes=[
        {"domain": "good.test", "next_hop": str(next_hop)}, {"domain": "other.test", "next_hop": str(other)},
        {"domain": "default", "next_hop": str(next_hop)}], **more)


def hand_in(gateway, count, recipients=("you@good.test",)):
    for n in range(count):
        body = ("y" * 76 + "\r\n") * (3000 if n % 5 == 0 else 2)  # some lie in files
        for recipient in recipients:
            smtp.submit(gateway.address(), SENDERS[n % 3], recipient, harness.message(f"mail {n}", body))


def listed(gateway, *arguments):
    done = gateway.command("queue", "list", "--json", *arguments)
    assert done.returncode == 0, done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()]


def order(gateway, *arguments, code=0):
    done = gateway.command("queue", *[str(a) for a in arguments])
    assert done.returncode == code, (arguments, done.returncode, done.stdout, done.stderr)
    return done.stdout + done.stderr


@pytest.fixture
def day(make_gateway):
    """Mail waits for two servers that are away: the gateway, and the addresses of both."""
    away, other = harness.free_address(), harness.free_address()
    gateway = make_gateway(house(away, other))
    hand_in(gateway, 6, ("you@good.test", "info@other.test"))
    harness.wait_for("both were tried", lambda: len([d for d in map(json.loads, gateway.command(
        "queue", "destinations", "--paused", "--json").stdout.splitlines())]) == 2)
    return gateway, away, other


def test_looking_at_what_waits_and_why(day):
    gateway, away, other = day
    assert len(listed(gateway)) == 12
    assert len(listed(gateway, "--sender", "anna@sender.test")) == 4
    assert len(listed(gateway, "--domain", "other.test")) == 6
    assert len(listed(gateway, "--destination", other, "--limit", "3")) == 3
    assert listed(gateway, "--domain", "oter.test") == []
    mid = listed(gateway, "--domain", "good.test")[0]["mid"]
    shown = order(gateway, "show", mid)
    assert away in shown and "efused" in shown
    assert "Subject: mail 0" in order(gateway, "show", mid, "--content")
    assert "efused" in order(gateway, "destinations")
    order(gateway, "list", "--domian", "good.test", code=2)
    order(gateway, "release", "--sender", "annna@sender.test", code=1)
    order(gateway, "hold", "--mid", "1", "--mid", "2", code=2)


def test_orders_and_a_server_that_comes_back(day, make_sink):
    gateway, away, other = day
    mids = [mail["mid"] for mail in listed(gateway, "--domain", "good.test")]
    order(gateway, "hold", "--sender", "anna@sender.test", "--domain", "good.test")
    assert {mail["mid"] for mail in listed(gateway, "--state", "held")} == {mids[0], mids[3]}
    order(gateway, "release", mids[0])
    order(gateway, "suspend", other)
    assert len(listed(gateway, "--state", "suspended")) == 6
    order(gateway, "resume", other)

    assert "--yes" in order(gateway, "delete", mids[1], code=2) and len(listed(gateway)) == 12
    order(gateway, "delete", mids[1], "--yes")
    gateway.tracked("deleted", mid=mids[1])
    elsewhere = make_sink()
    order(gateway, "reroute", mids[2], "--to", elsewhere.address, "--yes")
    assert gateway.tracked("delivered", mid=mids[2])["sender"] == SENDERS[2]
    order(gateway, "expire", mids[4], "--yes")
    gateway.tracked("bounced", mid=mids[4])
    (report,) = listed(gateway, "--sender", "")
    assert report["recipients"][0]["address"] == SENDERS[1]

    sink = make_sink()
    gateway.configure(house(sink.address, sink.address))
    assert gateway.command("reload").returncode == 0
    order(gateway, "flush", "--all")
    sink.wait(2 + 6 + 1)  # mail 3 is held
    order(gateway, "release", "--all")
    sink.wait(3 + 6 + 1)
    harness.wait_for("nothing waits", lambda: not listed(gateway))
    assert len(elsewhere.messages) == 1


def test_a_backup_is_the_queue_of_another_gateway(day, make_gateway, make_sink):
    gateway, *_ = day
    done = gateway.command("backup", str(gateway.folder / "monday"), timeout=120)
    assert done.returncode == 0 and "mails that wait: 12," in done.stdout, done.stdout + done.stderr
    gateway.stop()
    sink = make_sink()
    restored = make_gateway(house(sink.address, sink.address), start=False)
    assert restored.command("check").returncode == 0
    done = restored.command("restore", str(gateway.folder / "monday"), timeout=120)
    assert done.returncode == 0, done.stderr
    restored.start()
    order(restored, "flush", "--all")
    sink.wait(12)
    assert collections.Counter(m["sender"] for m in sink.messages) == dict.fromkeys(SENDERS, 4)


def test_kill_9_of_queue_and_of_everything_loses_nothing(day):
    gateway, *_ = day
    order(gateway, "hold", "--domain", "other.test")
    before = {mail["mid"] for mail in listed(gateway)}
    queue = gateway.roles()["queue"]["pid"]
    os.kill(queue, signal.SIGKILL)
    harness.wait_for("queue is back", lambda: gateway.roles()["queue"]["pid"] not in (0, queue) and gateway.roles()["queue"]["up"])
    harness.wait_for("it answers", lambda: {mail["mid"] for mail in listed(gateway)} == before)
    gateway.kill_all()
    gateway.start()
    assert {mail["mid"] for mail in listed(gateway)} == before
    assert len(listed(gateway, "--state", "held")) == 6


def test_11_28_four_kilobytes_of_noise_in_queue_db(day, make_sink):
    gateway, *_ = day
    sink = make_sink()
    gateway.stop()
    file = gateway.folder / "state/queue.db"
    with open(file, "r+b") as db:
        db.seek(db.read().index(b"Subject: mail 1") // 4096 * 4096)  # not where nothing is
        db.write(os.urandom(4096))
    gateway.configure(house(sink.address, sink.address))
    gateway.start()
    kept = re.search(r"queue_corrupt .*kept=(\S+) mails=(\d+) damaged=(\d+)", gateway.stderr())
    assert kept, gateway.stderr()[-3000:]
    assert (gateway.folder / "state" / kept[1]).exists()
    whole, damaged = int(kept[2]), int(kept[3])
    assert whole + damaged == 12 and damaged >= 1
    order(gateway, "flush", "--all")
    sink.wait(whole)
    harness.wait_for("only damaged mail is left", lambda: not listed(gateway))
    assert len(sink.messages) == whole and len(listed(gateway, "--state", "corrupt")) == damaged
    order(gateway, "delete", "--state", "corrupt", "--yes")
    assert listed(gateway, "--state", "corrupt") == []
