"""What `deliver` borrowed when `queue` dies: it is delivered once, wherever it was on its way. (test_kill.py kills every role at any moment.)"""

import collections
import contextlib
import os
import signal
import smtplib

import harness

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
