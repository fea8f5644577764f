"""Limits of clients and of the machine: connections, rate, queue, free space and inodes. Conformance 1.31, 11.16, 11.17, 11.19."""

import concurrent.futures
import contextlib
import os
import pwd
import subprocess

import pytest

import harness
import smtp

MEBI = 1024 * 1024
as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can mount a small disk")


# Clients


def test_200_connections_at_once_none_lost(make_gateway, sink):
    """All stand at the same time, half of them in TLS; then each sends a mail."""
    gateway = make_gateway(next_hop=sink.address, limits={"connections_per_network": 1000, "rate": 10000})

    def open_one(n):
        c = smtp.Client(gateway.address(), timeout=90)
        c.ehlo()
        if n % 2:
            c.starttls()
            c.ehlo()
        return c

    with contextlib.ExitStack() as stack, concurrent.futures.ThreadPoolExecutor(50) as pool:
        clients = [stack.enter_context(c) for c in pool.map(open_one, range(200))]
        list(pool.map(lambda n: clients[n].mail(f"n{n}@sender.test", "bob@good.test", harness.message()), range(200)))
        for c in clients:
            c.quit()
    senders = [line["sender"] for line in sink.wait(200, patience=90)]
    assert sorted(senders) == sorted(f"n{n}@sender.test" for n in range(200))


def test_connections_of_one_network(make_gateway, sink):
    gateway = make_gateway(next_hop=sink.address, limits={"connections_per_network": 2})
    with smtp.Client(gateway.address()) as one, smtp.Client(gateway.address(), source="127.0.0.77") as two:
        one.ehlo()
        two.ehlo()
        with smtp.Client(gateway.address()) as three:
            assert (three.greeting.code, three.greeting.status) == (421, "4.7.0"), three.greeting
            three.expect_closed()
        with smtp.Client(gateway.address(), source="127.0.5.1") as other:
            other.ehlo()
            other.quit()
        one.quit()

        def greets():
            with smtp.Client(gateway.address()) as c:
                return c.greeting.code == 220

        harness.wait_for("a place is free again", greets)


def test_rate_of_one_network(make_gateway, sink):
    gateway = make_gateway(next_hop=sink.address, limits={"rate": 5})
    codes = []
    for _ in range(8):
        with smtp.Client(gateway.address()) as c:
            codes.append(c.greeting.code)
    assert codes == [220] * 5 + [421] * 3
    with smtp.Client(gateway.address(), source="127.0.5.1") as other:
        other.ehlo()
        other.quit()


def test_queue_quota_of_one_network(make_gateway, make_sink):
    gateway = make_gateway(next_hop=harness.free_address(), limits={"queue_quota": 2})
    for n in range(2):
        smtp.submit(gateway.address(), f"n{n}@sender.test", "bob@good.test", harness.message())

    def is_refused():
        with smtp.Client(gateway.address()) as c:
            c.ehlo()
            reply = c.do("MAIL FROM:<more@sender.test>")
            if reply.code == 250:
                c.expect("RCPT TO:<bob@good.test>", 250)
                reply = c.data(harness.message())
            assert reply.code in (250, 450, 451, 452), reply
            return reply.code != 250

    harness.wait_for("the third mail is refused for now", is_refused)
    smtp_other = smtp.Client(gateway.address(), source="127.0.5.1")
    with smtp_other as c:
        c.ehlo()
        c.mail("other@sender.test", "bob@good.test", harness.message())
        c.quit()
    sink = make_sink()
    gateway.configure(harness.settings(next_hop=sink.address, limits={"queue_quota": 2}))
    assert gateway.command("reload").returncode == 0
    harness.wait_for("there is room again", lambda: not is_refused())


# The machine


@pytest.fixture
def on_small_disk(make_gateway, sink):
    """on_small_disk(size=bytes, inodes=number, limit=value, ...) -> a running gateway whose state lies on a disk of that size."""
    made = []

    def start(size=400 * MEBI, inodes=100_000, **limits):
        gateway = make_gateway(start=False, next_hop=sink.address, limits=limits)
        state = gateway.folder / "state"
        state.mkdir()
        user = pwd.getpwnam(harness.USER)
        subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size},nr_inodes={inodes},mode=0700,uid={user.pw_uid},gid={user.pw_gid}",
            "postern-test", str(state)], check=True)
        made.append((gateway, state))
        gateway.state = state
        return gateway.start()

    yield start
    for gateway, state in made:
        try:
            gateway.stop()
        finally:
            subprocess.run(["umount", "-l", str(state)], check=True)


def fill(gateway, leave):
    """A file that leaves `leave` bytes."""
    stat = os.statvfs(gateway.state)
    path = gateway.state / "filler"
    with open(path, "wb") as f:
        os.posix_fallocate(f.fileno(), 0, stat.f_bavail * stat.f_frsize - leave)
    return path


def mail_reply(gateway, parameters=""):
    with smtp.Client(gateway.address()) as c:
        c.ehlo()
        return c.do("MAIL FROM:<a@sender.test>" + parameters)


def is_full(reply):
    assert reply.code == 250 or (reply.code, reply.status) == (452, "4.3.1"), reply
    return reply.code == 452


@as_root
def test_11_16_1_31_little_space(on_small_disk):
    gateway = on_small_disk(min_free_space="100MiB")
    assert mail_reply(gateway).code == 250
    filler = fill(gateway, leave=120 * MEBI)
    harness.wait_for("a mail larger than what is free is refused", lambda: is_full(mail_reply(gateway, f" SIZE={50 * MEBI}")))
    assert mail_reply(gateway, " SIZE=1000").code == 250
    filler.unlink()
    filler = fill(gateway, leave=90 * MEBI)
    harness.wait_for("all mail is refused", lambda: is_full(mail_reply(gateway)))
    harness.wait_for(lambda: "it is logged\n" + gateway.stderr(), lambda: "space" in gateway.stderr())
    assert gateway.command("status").returncode == 0
    filler.unlink()
    harness.wait_for("mail is taken again", lambda: not is_full(mail_reply(gateway)))
    smtp.submit(gateway.address(), "after@sender.test", "bob@good.test", harness.message())
    gateway.tracked("delivered", sender="after@sender.test")


@as_root
def test_11_19_few_inodes(on_small_disk):
    gateway = on_small_disk(inodes=3000, min_free_space=0, min_free_inodes=1000)
    assert mail_reply(gateway).code == 250
    (gateway.state / "many").mkdir()
    files = [gateway.state / f"many/{n}" for n in range(2500)]
    for file in files:
        file.touch()
    harness.wait_for("mail is refused", lambda: is_full(mail_reply(gateway)))
    for file in files:
        file.unlink()
    harness.wait_for("mail is taken again", lambda: not is_full(mail_reply(gateway)))


def files_of(gateway):
    return {str(p.relative_to(gateway.state)) for p in gateway.state.rglob("*") if p.is_file() and ".db" not in p.name}


@as_root
def test_11_17_a_full_disk(on_small_disk, sink):
    """No check in advance: the writes themselves fail. Small mail, large mail, and many at once."""
    gateway = on_small_disk(size=100 * MEBI, min_free_space=0, min_free_inodes=0)
    smtp.submit(gateway.address(), "before@sender.test", "bob@good.test", harness.message())
    gateway.tracked("delivered", sender="before@sender.test")
    harness.wait_for("nothing but the store is left", lambda: len(files_of(gateway)) <= 2)
    before = files_of(gateway)
    filler = fill(gateway, leave=0)
    taken = []
    for n, size in enumerate([100, 3_000_000, 200_000, 20_000_000]):
        with smtp.Client(gateway.address()) as c:
            c.ehlo()
            reply = c.do(f"MAIL FROM:<full{n}@sender.test>")
            if reply.code == 250:
                c.expect("RCPT TO:<bob@good.test>", 250)
                reply = c.data(harness.message(body=("x" * 998 + "\r\n") * (size // 1000)))
            assert reply.code == 250 or reply.code in (451, 452), reply
            taken += [f"full{n}@sender.test"] * (reply.code == 250)
    assert "full3@sender.test" not in taken, "20 MB do not fit anywhere"
    filler.unlink()

    def flows():
        with smtp.Client(gateway.address()) as c:
            c.ehlo()
            if c.do("MAIL FROM:<after@sender.test>").code != 250:
                return False
            c.expect("RCPT TO:<bob@good.test>", 250)
            return c.data(harness.message()).code == 250

    harness.wait_for("mail is taken again", flows)
    for sender in ["after@sender.test", *taken]:
        gateway.tracked("delivered", sender=sender)
    senders = {line["sender"] for line in sink.messages}
    assert senders == {"before@sender.test", "after@sender.test", *taken}
    harness.wait_for(lambda: f"only the store is left: {files_of(gateway)}", lambda: files_of(gateway) <= before | {"lock"})
