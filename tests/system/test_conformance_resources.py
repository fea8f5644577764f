"""Conformance 11c: no file descriptors, no memory, writes and syncs that fail."""

import os
import pathlib
import re
import subprocess

import pytest

import harness
import peer as scripted
import smtp

as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root may change the limits of other processes and trace them")


def open_files(pid):
    return len(os.listdir(f"/proc/{pid}/fd"))


def cpu_seconds(pid):
    fields = pathlib.Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def restrict(pid, kind, soft):
    """Set the soft limit ("nofile", "as") of a running role; the old one. Done as the role's user: root may lack the right."""
    old = limits_of(pid)[kind]
    done = harness.run("setpriv", f"--reuid={harness.USER}", f"--regid={harness.USER}", "--clear-groups", "prlimit", f"--pid={pid}",
        f"--{kind}={soft}:")
    assert done.returncode == 0, done.stderr
    return old


def limits_of(pid):
    """The soft limits of a process as words for prlimit."""
    text = pathlib.Path(f"/proc/{pid}/limits").read_text()
    return {kind: re.search(rf"^{name}\s+(\w+)", text, re.M).group(1)
        for kind, name in (("nofile", "Max open files"), ("as", "Max address space"))}


def try_to_send(gateway, sender, recipients=1, patience=harness.PATIENCE):
    """One mail whatever happens: the code of the last reply, or None when the connection was refused or closed."""
    try:
        with smtp.Client(gateway.address(), timeout=patience) as c:
            if c.greeting.code != 220:
                return c.greeting.code
            for command in ["EHLO client.sender.test", f"MAIL FROM:<{sender}>",
                    *(f"RCPT TO:<r{n}@good.test>" for n in range(recipients)), "DATA"]:
                reply = c.do(command)
                if reply.code >= 400:
                    return reply.code
            c.send(harness.message(body="some text\r\n" * 5000) + b".\r\n")
            return c.read().code
    except (smtp.Closed, OSError) as e:
        assert not isinstance(e, TimeoutError), "nobody answers"
        return None


# File descriptors


@as_root
def test_11_13_accept_without_descriptors(make_gateway, sink):
    gateway = make_gateway(next_hop=sink.address, limits={"idle_time": "2s"})
    front = gateway.roles()["front"]["pid"]
    old = restrict(front, "nofile", open_files(front) + 4)
    clients = [smtp.Client(gateway.address(), greet=False) for _ in range(12)]
    assert clients[0].read().code == 220
    harness.wait_for("the operator hears of it", lambda: "accept_failed" in gateway.stderr())
    before = cpu_seconds(front)
    assert clients[0].read().code == 421, "two seconds of silence"
    used = cpu_seconds(front) - before
    assert used < 1.0, f"accepting took {used} s of processor time within two seconds"
    assert gateway.stderr().count("accept_failed") < 50, "nor does the log grow without end"
    for c in clients:
        c.close()
    restrict(front, "nofile", old)
    harness.wait_for("mail is taken again", lambda: try_to_send(gateway, "after@sender.test") == 250)
    gateway.tracked("delivered", sender="after@sender.test")
    assert gateway.roles()["front"]["pid"] == front


@as_root
def test_11_13_a_session_without_descriptors(make_gateway, sink):
    """The connection stands, but no descriptor is left for the content: for now, and nothing breaks."""
    gateway = make_gateway(next_hop=sink.address)
    front = gateway.roles()["front"]["pid"]
    with smtp.Client(gateway.address()) as c:
        c.ehlo()
        c.envelope("dry@sender.test")
        old = restrict(front, "nofile", open_files(front))
        reply = c.do("DATA")
        if reply.code == 354:
            c.send(harness.message(body="x\r\n" * 200_000) + b".\r\n")
            reply = c.read()
        assert reply.code in (250, 451, 452), reply
        restrict(front, "nofile", old)
        c.expect("RSET", 250)
        c.mail("wet@sender.test", "bob@good.test", harness.message(body="x\r\n" * 200_000))
        c.quit()
    gateway.tracked("delivered", sender="wet@sender.test")
    assert ("dry@sender.test" in [line["sender"] for line in sink.messages]) == (reply.code == 250)
    assert gateway.roles()["front"]["pid"] == front


@as_root
def test_11_14_delivery_without_descriptors(make_gateway, sink):
    # One connection at once: each further one would keep its channel to `queue`, which is no leak.
    gateway = make_gateway(next_hop=sink.address, delivery={"retry": ["100ms"], "connections": 1})
    deliver = gateway.roles()["deliver"]["pid"]
    smtp.submit(gateway.address(), "first@sender.test", "bob@good.test", harness.message())
    gateway.tracked("delivered", sender="first@sender.test")

    def connections():
        return sum("socket:" in os.readlink(f"/proc/{deliver}/fd/{fd}") for fd in os.listdir(f"/proc/{deliver}/fd"))

    harness.wait_for("the idle connection is closed", lambda: "delivery_closed" in gateway.stderr())
    base, sockets = open_files(deliver), connections()
    old = restrict(deliver, "nofile", 3)
    for n in range(5):
        smtp.submit(gateway.address(), f"n{n}@sender.test", "bob@good.test", harness.message(body="x\r\n" * 100_000 * (n % 2)))

    def deferred():
        return "deferred mid=" in gateway.stderr() or "delivery_connect_failed" in gateway.stderr()

    harness.wait_for(lambda: "delivery is deferred\n" + gateway.stderr(), deferred)
    assert len(sink.messages) == 1
    restrict(deliver, "nofile", old)
    for n in range(5):
        gateway.tracked("delivered", sender=f"n{n}@sender.test")
    assert gateway.roles()["deliver"]["pid"] == deliver, "it did not die"
    harness.wait_for(lambda: f"nothing leaked: {open_files(deliver)} descriptors, {base} before",
        lambda: open_files(deliver) <= base and connections() <= sockets)
    assert sorted(line["sender"] for line in sink.messages) == sorted(["first@sender.test", *(f"n{n}@sender.test" for n in range(5))])


def test_11_14_a_lease_that_comes_with_an_outcome_without_descriptors(make_gateway, make_peer):
    """Its content finds no descriptor: the outcome is told again, and the mail is lent again."""
    gate = scripted.Gate()
    gate.peer = peer = make_peer(pause=gate.hold)
    gateway = make_gateway(next_hop=peer.address, delivery={"retry": ["100ms"], "connections": 1})
    deliver = gateway.roles()["deliver"]["pid"]
    smtp.submit(gateway.address(), "first@sender.test", "bob@good.test", harness.message())
    harness.wait_for("its content is with the peer", lambda: peer.messages)
    smtp.submit(gateway.address(), "second@sender.test", "bob@good.test", harness.message(body="x\r\n" * 100_000))
    old = restrict(deliver, "nofile", 3)
    gate.open()
    harness.wait_for("the answer did not arrive", lambda: "outcome_not_recorded mid=1 " in gateway.stderr())
    restrict(deliver, "nofile", old)
    gate.open()
    gateway.tracked("delivered", sender="second@sender.test")
    assert [m.sender for m in peer.messages] == ["first@sender.test", "second@sender.test"]
    assert gateway.roles()["deliver"]["pid"] == deliver


# Memory


def plain():
    """The gateway without sanitizers, optimised: the binary under test, POSTERN_PLAIN, or what `make build` (so `make test`) made."""
    under_test = harness.BINARY.read_bytes()
    if b"__asan_init" not in under_test and b"__tsan_init" not in under_test:
        return harness.BINARY
    binary = pathlib.Path(os.environ.get("POSTERN_PLAIN", harness.ROOT / "build/meson/postern"))
    assert binary.exists(), f"{binary} is missing: run `make build`"
    return binary.resolve()


@pytest.fixture
def plain_binary(monkeypatch):
    """Sanitizers cannot live with little memory."""
    monkeypatch.setattr(harness, "BINARY", plain())


def address_space(pid):
    return int(pathlib.Path(f"/proc/{pid}/statm").read_text().split()[0]) * os.sysconf("SC_PAGE_SIZE")


@as_root
@pytest.mark.parametrize("role", ["front", "queue", "deliver"])
@pytest.mark.parametrize("room", [0, 300, 2000, 9000], ids=lambda room: f"{room} KiB")
def test_11_15_out_of_memory(plain_binary, make_gateway, make_sink, role, room):
    """Clients hear 4xx or are refused, the role ends at worst; what was promised is delivered, and nothing else."""
    sink = make_sink()
    gateway = make_gateway(next_hop=sink.address, delivery={"retry": ["100ms"]})
    promised = []

    def send(sender):
        code = try_to_send(gateway, sender, recipients=100)
        assert code is None or code == 250 or 400 <= code < 500, code
        if code == 250:
            promised.append(sender)
        return code == 250

    assert send("before@sender.test")
    pid = gateway.roles()[role]["pid"]
    old = restrict(pid, "as", address_space(pid) + room * 1024)
    for n in range(6):
        send(f"short{n}@sender.test")
    if harness.is_alive(pid):
        restrict(pid, "as", old)
    harness.wait_for(lambda: "mail is taken again\n" + gateway.stderr(), lambda: send("after@sender.test"))
    for sender in promised:
        gateway.tracked("delivered", sender=sender)
    senders = {line["sender"] for line in sink.messages}
    assert set(promised) <= senders
    assert "signal=11" not in gateway.stderr(), "no crash"


# Writes and syncs


class Fault:
    """strace makes system calls of a running process fail. Use as a context manager."""

    def __init__(self, pid, calls, fault):
        self.errors = harness.make_folder() / "strace"
        self.log = open(self.errors, "wb")
        self.process = subprocess.Popen(["strace", "-f", "-p", str(pid), "-o", str(self.errors) + ".calls", "-e", f"trace={calls}",
            "-e", f"inject={calls}:{fault}"], stdin=subprocess.DEVNULL, stdout=self.log, stderr=self.log)
        harness.wait_for(lambda: "strace is attached: " + self.errors.read_text(), self.is_attached)

    def is_attached(self):
        assert self.process.poll() is None, self.errors.read_text()
        return "attached" in self.errors.read_text()

    def happened(self):
        calls = pathlib.Path(str(self.errors) + ".calls")
        return calls.exists() and "INJECTED" in calls.read_text()

    def __enter__(self):
        return self

    def __exit__(self, *unused):
        self.process.kill()  # the kernel lets go of what it traced; asked nicely, it waits for threads that are just ending
        self.process.wait(timeout=harness.PATIENCE)
        self.log.close()


FAULTS = {
    "write ENOSPC": ("pwrite64,pwritev,write,writev", "error=ENOSPC"),
    "write EIO": ("pwrite64,pwritev,write,writev", "error=EIO"),
    "write EDQUOT": ("pwrite64", "error=EDQUOT"),
    "sync EIO": ("fsync,fdatasync", "error=EIO"),
    "sync ENOSPC": ("fsync,fdatasync", "error=ENOSPC"),
    "open ENOSPC": ("openat", "error=ENOSPC"),
    "link EIO": ("linkat,renameat,renameat2,rename", "error=EIO"),
    "truncate EIO": ("ftruncate,fallocate", "error=EIO"),
}


@pytest.fixture
def faulty(make_gateway, sink, monkeypatch):
    """A gateway whose leak checks can live with a tracer."""
    options = harness.environment()["ASAN_OPTIONS"].replace("detect_leaks=1", "detect_leaks=0")
    monkeypatch.setenv("ASAN_OPTIONS", options)
    return make_gateway(next_hop=sink.address, delivery={"retry": ["100ms"]})


def content(size):
    return harness.message(body=("x" * 78 + "\r\n") * (size // 80))


@as_root
@pytest.mark.parametrize("size", [1000, 1_000_000], ids=["in the row", "in a file"])
@pytest.mark.parametrize("name", FAULTS)
def test_11_17_a_failed_write_is_no_250(faulty, sink, name, size):
    smtp.submit(faulty.address(), "before@sender.test", "bob@good.test", content(size))
    faulty.tracked("delivered", sender="before@sender.test")
    state = faulty.folder / "state"

    def files():
        return {str(p.relative_to(state)) for p in state.rglob("*") if p.is_file() and ".db" not in p.name}

    harness.wait_for("its content is gone", lambda: not [p for p in files() if "content" in p])
    before = files()
    with smtp.Client(faulty.address()) as c:
        c.ehlo()
        with Fault(faulty.roles()["queue"]["pid"], *FAULTS[name]) as fault:
            reply = c.do("MAIL FROM:<during@sender.test>")
            if reply.code == 250:
                c.expect("RCPT TO:<bob@good.test>", 250)
                reply = c.data(content(size))
            hit = fault.happened()
        # what fails only later (a checkpoint) may be a 250; what failed before the answer may not
        assert reply.code in (451, 452) or reply.code == 250 and (not hit or name.startswith(("truncate", "link", "open"))), reply

    def after():
        return try_to_send(faulty, "after@sender.test") == 250

    harness.wait_for(lambda: "mail is taken again\n" + faulty.stderr(), after)
    faulty.tracked("delivered", sender="after@sender.test")
    if reply.code == 250:
        faulty.tracked("delivered", sender="during@sender.test")
    senders = {line["sender"] for line in sink.messages}
    if reply.code == 250:
        assert "during@sender.test" in senders
    elif not name.startswith("sync"):  # after a failed sync nobody knows: a doubt may become a duplicate, never a loss
        assert "during@sender.test" not in senders
    harness.wait_for(lambda: f"no file is left behind: {files() - before}", lambda: files() <= before)


@as_root
@pytest.mark.parametrize("size", [1000, 1_000_000], ids=["in the row", "in a file"])
def test_11_18_a_failed_sync_is_final(faulty, size):
    """Only the first sync of each thread fails; a server that tries again and believes the second says 250."""
    with smtp.Client(faulty.address()) as c:
        c.ehlo()
        c.envelope("lost@sender.test")
        with Fault(faulty.roles()["queue"]["pid"], "fsync,fdatasync", "error=EIO:when=1") as fault:
            reply = c.data(content(size))
            assert fault.happened()
        assert reply.code in (451, 452), reply
    harness.wait_for(lambda: "mail is taken again\n" + faulty.stderr(),
        lambda: try_to_send(faulty, "after@sender.test") == 250)
    faulty.tracked("delivered", sender="after@sender.test")
