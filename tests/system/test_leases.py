"""What `deliver` borrowed when `queue` dies: it is delivered once, wherever it was on its way. (test_kill.py kills every role at any moment.)"""

import collections
import contextlib
import json
import os
import signal
import smtplib

import harness
import peer as scripted
import smtp

ROUNDS = 5


@contextlib.contextmanager
def frozen(pid):
    """The process gets no time: what is sent to it stays in its sockets."""
    os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(pid, signal.SIGCONT)


def active(gateway):
    """Mails that `queue` has lent; asks nobody but master and `queue`."""
    done = gateway.command("queue", "list", "--state", "active", "--json")
    return len(done.stdout.splitlines()) if done.returncode == 0 else 0


def is_lent(gateway):
    """Whether a mail is lent to the frozen process; not when nobody there had asked for any, between two connections to `queue`."""
    try:
        return harness.wait_for("a mail is lent", lambda: active(gateway) > 0, patience=3)
    except harness.Late:
        return False


def test_11_22_11_24_a_lease_that_arrives_while_queue_dies_is_not_lent_again(make_gateway, sink):
    """The answer with the lease lies unread in the socket; the next `queue` must hear of it before it lends anything."""
    gateway = make_gateway(next_hop=sink.address, delivery={"retry": ["1s"], "concurrency": 20})
    sent = 0

    host, port = gateway.address()
    client = smtplib.SMTP(host, port)
    deliver = gateway.roles()["deliver"]["pid"]
    rounds = 0
    while rounds < ROUNDS:
        queue = gateway.roles()["queue"]["pid"]
        with frozen(deliver):
            client.sendmail("alice@sender.test", ["bob@good.test"], harness.message(f"mail {sent}"))
            sent += 1
            if is_lent(gateway):
                rounds += 1
                os.kill(queue, signal.SIGKILL)
                harness.wait_for("the role is gone", lambda: not harness.is_alive(queue))
                harness.wait_for("the next `queue` answers", lambda: gateway.command("queue", "list").returncode == 0)
        gateway.tracked("delivered", mid=sent)
        assert sent < 10 * ROUNDS, "it is never lent"
    client.quit()
    assert gateway.roles()["deliver"]["pid"] == deliver
    subjects = collections.Counter(sink.content(m).split(b"Subject: ")[1].split(b"\r\n")[0] for m in sink.messages)
    assert len(subjects) == sent
    assert max(subjects.values()) == 1, subjects


def send(gateway, name):
    smtp.submit(gateway.address(), f"{name}@sender.test", "bob@good.test", harness.message())


def lent_mids(gateway):
    done = gateway.command("queue", "list", "--state", "active", "--json")
    return [json.loads(line)["mid"] for line in done.stdout.splitlines()] if done.returncode == 0 else []


def test_11_22_11_24_a_lease_that_comes_with_an_outcome_while_queue_dies_is_not_lent_again(make_gateway, make_peer):
    """The answer to the outcome of one mail lends the next one, and lies unread in the socket. Another worker waits for any mail."""
    gate = scripted.Gate()
    gate.peer = peer = make_peer(pause=gate.hold)
    gateway = make_gateway(next_hop=peer.address, delivery={"retry": ["1s"], "concurrency": 1, "connections": 2})
    deliver = gateway.roles()["deliver"]["pid"]
    rounds = 0
    for turn in range(10 * ROUNDS):
        queue, second = gateway.roles()["queue"]["pid"], 2 * turn + 2
        send(gateway, f"first{turn}")
        harness.wait_for("its content is with the peer", lambda: len(peer.messages) == second - 1)
        send(gateway, f"second{turn}")
        with frozen(queue):
            gate.open()
            harness.wait_for("the outcome is known", lambda: f"delivered mid={second - 1} " in gateway.stderr())
            os.kill(deliver, signal.SIGSTOP)  # when it has asked; else this is no round
        with contextlib.suppress(harness.Late):
            harness.wait_for("the second is lent", lambda: lent_mids(gateway) == [second], patience=3)
            rounds += 1
            os.kill(queue, signal.SIGKILL)
            harness.wait_for("the role is gone", lambda: not harness.is_alive(queue))
            harness.wait_for("the next `queue` answers", lambda: gateway.command("queue", "list").returncode == 0)
        os.kill(deliver, signal.SIGCONT)
        harness.wait_for("the second is with the peer", lambda: len(peer.messages) == second)
        gate.open()
        gateway.tracked("delivered", mid=second)
        if rounds == ROUNDS:
            break
    assert rounds == ROUNDS and gateway.roles()["deliver"]["pid"] == deliver
    assert collections.Counter(m.sender for m in peer.messages) == dict.fromkeys(
        (f"{name}{n}@sender.test" for n in range(turn + 1) for name in ("first", "second")), 1)
