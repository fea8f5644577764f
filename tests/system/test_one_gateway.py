"""One gateway for each state directory, and ids that no two of its lives share."""

import collections
import os
import re
import signal
import subprocess
import time

import pytest

import harness
import smtp
from faults import Faults

as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root makes process namespaces")


@pytest.fixture
def second(make_gateway):
    """second(gateway) -> another gateway with the same state directory, not started."""
    def make(gateway, **options):
        return make_gateway(start=False, state_dir=str(gateway.folder / "state"), **options)

    return make


def assert_refused(gateway, *before):
    done = harness.run(*before, harness.BINARY, "-c", gateway.file, "run")
    assert done.returncode == 1, done
    assert re.search(r"state_dir: another gateway is running on \S+; stop it first \(postern stop\), or name another state_dir", done.stderr), \
        done.stderr
    assert not harness.SANITIZER_REPORT.search(done.stderr), done.stderr


def test_11_29_a_second_gateway_is_refused(gateway, second, sink):
    other = second(gateway, next_hop=sink.address)
    assert_refused(other)
    assert_refused(gateway)  # its own configuration, started twice
    smtp.submit(gateway.address(), "a@sender.test", "bob@good.test", harness.message())
    gateway.tracked("delivered", sender="a@sender.test")
    gateway.stop()
    other.start()
    assert [record["sender"] for record in other.track()] == ["a@sender.test"]


def test_11_29_as_long_as_its_queue_lives(gateway, second, sink):
    """Master is killed, and role queue still has the store: only when that is gone is the state directory free."""
    queue = gateway.roles()["queue"]["pid"]
    other = second(gateway, next_hop=sink.address)
    os.kill(queue, signal.SIGSTOP)
    try:
        gateway.process.kill()
        gateway.process.wait()
        gateway.process = None
        assert_refused(other)
    finally:
        os.kill(queue, signal.SIGCONT)
    harness.wait_for("the old queue has ended", lambda: not harness.is_alive(queue))
    other.start()
    smtp.submit(other.address(), "a@sender.test", "bob@good.test", harness.message())
    other.tracked("delivered", sender="a@sender.test")


AS_PID_1 = ("unshare", "--fork", "--pid", "--mount-proc", "--kill-child")


def start_as_pid_1(gateway):
    log = open(gateway.errors, "ab")
    gateway.process = subprocess.Popen([*AS_PID_1, str(harness.BINARY), "-c", str(gateway.file), "run"], stdin=subprocess.DEVNULL,
        stdout=log, stderr=log, env=harness.environment())
    gateway.log = log
    harness.wait_for(lambda: "the gateway answers\n" + gateway.stderr(), gateway.is_ready)
    assert gateway.roles()["master"]["pid"] == 1


def kill_pid_1(gateway):
    """SIGKILL for the first process of the namespace: the kernel ends all others."""
    init = int(harness.run("pgrep", "-P", gateway.process.pid).stdout)
    os.kill(init, signal.SIGKILL)
    gateway.process.wait()
    gateway.process = None
    gateway.log.close()


@as_root
def test_11_29_the_same_process_id_means_nothing(make_gateway, second, make_sink):
    """Each master is process 1 of its namespace, as in a container that was started again."""
    gateway = make_gateway(start=False, next_hop=harness.free_address())
    start_as_pid_1(gateway)
    sink = make_sink()
    other = second(gateway, next_hop=sink.address)
    assert_refused(other, *AS_PID_1)
    smtp.submit(gateway.address(), "a@sender.test", "bob@good.test", harness.message())
    kill_pid_1(gateway)
    start_as_pid_1(other)
    other.tracked("delivered", sender="a@sender.test")
    assert [line["sender"] for line in sink.messages] == ["a@sender.test"]
    kill_pid_1(other)


def twice(values):
    return [value for value, count in collections.Counter(values).items() if count > 1]


def test_11_37_no_id_is_used_twice(make_gateway, make_peer):
    """The clock stands still, over kill -9 of roles and of everything: sessions, deliveries, mails, reports, content files."""
    peer = make_peer(starttls="absent", rcpt={"bad@good.test": "550 5.1.1 no", "*": "250 2.1.5 ok"})
    gateway = make_gateway(start=False, next_hop=peer.address, routes=[{"domain": "default", "next_hop": peer.address}], delivery_tls="none")
    faults = Faults(gateway)
    faults.set([f"* clock * {int(time.time())}"])
    gateway.start()
    mids, sent = [], []

    def send(recipient, size):
        sender = f"n{len(sent)}@sender.test"
        body = f"{len(sent):077}\r\n" * (size // 79)
        content = harness.message(f"n{len(sent)}", body, sender=sender)

        def taken():
            try:
                return smtp.submit(gateway.address(), sender, recipient, content, tls=False)
            except (AssertionError, OSError, smtp.Closed):
                return None  # a role is away

        reply = harness.wait_for("the mail is taken", taken)
        mids.append(reply.lines[-1].rsplit(" ", 1)[1])
        sent.append((sender, recipient, content))

    for life in range(3):
        for victim in ("front", "deliver", "queue"):
            send("bob@good.test", 500)
            send("bad@good.test", 500)
            send("bob@good.test", 200_000)
            harness.wait_for("delivered and reported", lambda: len(peer.messages) == len(sent))
            pid = gateway.roles()[victim]["pid"]
            os.kill(pid, signal.SIGKILL)
            harness.wait_for(f"{victim} is back", lambda: gateway.roles()[victim]["up"] and gateway.roles()[victim]["pid"] != pid)
        if life < 2:
            gateway.kill_all()
            gateway.start()

    log = gateway.stderr()
    times = set(re.findall(r"^(\S+Z) ", log, re.M))
    assert len(times) == 1, "the clock stood still"
    icids = re.findall(r" session_start icid=(\S+)", log)
    dcids = re.findall(r" delivery_connected dcid=(\S+)", log)
    assert len(icids) >= len(sent) and len(dcids) >= 6
    assert not twice(icids) and not twice(dcids) and not twice(mids)
    contents = [message.content for message in peer.messages]
    ids = [re.search(rb"^Message-ID: <(.*?)>", content, re.M)[1] for content in contents]
    assert [message.sender for message in peer.messages].count("") == 9, "reports"
    assert not twice(ids)
    received = [re.search(rb"\bid (\S+?)[;\s]", content)[1] for content in contents if content.startswith(b"Received")]
    assert len(received) == 18 and not twice(received)
    for sender, recipient, content in sent:
        if recipient == "bob@good.test":
            assert [harness.split_received(m.content)[1] for m in peer.messages if m.sender == sender] == [content]
