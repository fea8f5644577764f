"""Where events go: a file that is rotated, syslog, the journal; and `postern log follow`."""

import contextlib
import json
import os
import pathlib
import re
import signal
import socket
import stat
import subprocess
import threading

import pytest

import harness
import smtp

LINE = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z (error|warn|info|debug) [a-z]+ [a-z_]+( [a-z_]+=(\"[ -~]*\"|[!-~]*))*")
# CR and LF cannot be in a command; what can: ESC, U+0085, U+2028, U+202E (turns the direction of text), quotes.
NASTY = b"x\x1b[2J\xc2\x85\xe2\x80\xa8\xe2\x80\xae\"=\\y"


def send(gateway, sender="alice@sender.test"):
    smtp.submit(gateway.address(), sender, "bob@good.test", harness.message())


def be_nasty(gateway):
    """A client that writes what steers readers of logs into everything that is logged."""
    with contextlib.closing(socket.create_connection(gateway.address(), timeout=harness.PATIENCE)) as conn:
        lines = conn.makefile("rb")
        lines.readline()
        for command in (b"EHLO " + NASTY, b"NOOP " + NASTY, b"MAIL FROM:<" + NASTY + b"@sender.test>", b"QUIT"):
            conn.sendall(command + b"\r\n")
            while lines.readline()[3:4] == b"-":
                pass


def of(lines, event):
    return [line for line in lines if f" {event}" in line]


@pytest.fixture
def filed(make_gateway, sink):
    return make_gateway(next_hop=sink.address, log={"to": "./gw.log"})


def log_of(gateway):
    return (gateway.folder / "gw.log").read_text()


def test_F8_file_takes_every_event_of_every_role_and_nothing_else(filed):
    send(filed)
    filed.tracked("delivered", sender="alice@sender.test")
    harness.wait_for("the session is logged", lambda: " session_end " in log_of(filed))
    lines = log_of(filed).splitlines()
    assert all(LINE.fullmatch(line) for line in lines), lines
    for event in ("started", "session_start", "tls_started", "mail_accepted", "delivered"):
        assert (len(of(lines, event)) == 1) or event == "tls_started", event
    assert {line.split()[2] for line in lines} >= {"master", "front", "deliver"}
    assert " info " not in filed.stderr(), filed.stderr()
    status = os.stat(filed.folder / "gw.log")
    assert stat.S_IMODE(status.st_mode) & ~0o640 == 0
    assert status.st_uid == os.geteuid()


def test_F8_json_is_one_object_a_line(make_gateway, sink):
    gateway = make_gateway(next_hop=sink.address, log={"to": "./gw.log", "format": "json", "level": "debug"})
    be_nasty(gateway)
    send(gateway)
    gateway.tracked("delivered", sender="alice@sender.test")
    events = [json.loads(line) for line in log_of(gateway).splitlines()]
    assert all({"time", "level", "role", "event"} <= set(event) for event in events)
    assert len([e for e in events if e["event"] == "delivered"]) == 1


def test_an_existing_file_is_appended_to(make_gateway, sink):
    gateway = make_gateway(start=False, next_hop=sink.address, log={"to": "./gw.log"})
    (gateway.folder / "gw.log").write_text("before\n")
    gateway.start()
    assert log_of(gateway).startswith("before\n20")


@pytest.mark.parametrize("to", ["./missing/gw.log", "./pki", "./fifo"])
def test_a_file_that_cannot_be_opened_is_said_at_start_and_at_reload(make_gateway, to):
    gateway = make_gateway(start=False, log={"to": to})
    os.mkfifo(gateway.folder / "fifo")
    gateway.start(wait=False)
    assert gateway.wait_end() == 1
    lines = gateway.stderr().splitlines()
    assert len(lines) == 1 and "log.to" in lines[0] and to.removeprefix("./") in lines[0], lines

    gateway.configure(harness.settings())
    gateway.start()
    gateway.configure(harness.settings(log={"to": to}))
    done = gateway.command("reload")
    assert done.returncode == 1 and "log.to" in done.stderr, done.stderr
    assert gateway.generation() == 1


def test_rotation_by_rename_and_reload_loses_nothing(filed):
    """All the time mail comes in; every role writes to the new file afterwards."""
    stop = threading.Event()
    sent = []

    def load():
        while not stop.is_set():
            send(filed, f"r{len(sent)}@sender.test")
            sent.append(1)

    thread = threading.Thread(target=load)
    thread.start()
    try:
        for n in range(1, 4):
            before = len(sent)
            harness.wait_for("mail flows", lambda: len(sent) > before + 1)
            os.rename(filed.folder / "gw.log", filed.folder / f"gw.log.{n}")
            filed.process.send_signal(signal.SIGHUP)
            harness.wait_for("the file is opened anew", lambda: (filed.folder / "gw.log").exists())
            harness.wait_for("the reload is done", lambda: filed.generation() == n + 1)
            before = len(sent)
            harness.wait_for("mail flows", lambda: len(sent) > before + 1)
    finally:
        stop.set()
        thread.join()
    parts = [filed.folder / f"gw.log.{n}" for n in (1, 2, 3)] + [filed.folder / "gw.log"]
    size = parts[2].stat().st_size
    send(filed, "last@sender.test")
    filed.tracked("delivered", sender="last@sender.test")
    assert parts[2].stat().st_size == size, "the old file is left alone"
    harness.wait_for("front and deliver write to the new one",
        lambda: all(f" {event} " in log_of(filed) for event in ("mail_accepted", "delivered")))
    lines = "".join(part.read_text() for part in parts).splitlines()
    assert all(LINE.fullmatch(line) for line in lines)
    assert len(of(lines, "mail_accepted")) == len(sent) + 1
    for name, role in filed.roles().items():
        targets = [os.readlink(f"/proc/{role['pid']}/fd/{fd}") for fd in os.listdir(f"/proc/{role['pid']}/fd")]
        assert not [t for t in targets if "gw.log." in t], name
        assert targets.count(str(filed.folder / "gw.log")) == 1, name


def test_rotation_works_while_the_configuration_is_broken(filed):
    good = filed.file.read_text()
    filed.configure(good + "listner_tls: none\n")
    os.rename(filed.folder / "gw.log", filed.folder / "gw.log.1")
    assert filed.command("reload").returncode == 1
    filed.configure(good)
    assert "reload_refused" in log_of(filed)
    send(filed)
    filed.tracked("delivered", sender="alice@sender.test")
    harness.wait_for("it is in the new file", lambda: " delivered " in log_of(filed) and " session_end " in log_of(filed))
    assert " session_start " not in (filed.folder / "gw.log.1").read_text()
    assert filed.generation() == 1


def test_reload_moves_the_log_between_places(make_gateway, sink):
    base = harness.settings(next_hop=sink.address)
    gateway = make_gateway(base)
    assert " started " in gateway.stderr()
    gateway.configure(dict(base, log={"to": "./gw.log", "format": "json"}))
    assert gateway.command("reload").returncode == 0
    send(gateway, "one@sender.test")
    harness.wait_for("it is in the file", lambda: '"mail_accepted"' in log_of(gateway))
    gateway.configure(base)
    assert gateway.command("reload").returncode == 0
    send(gateway, "two@sender.test")
    harness.wait_for("it is on standard error", lambda: "two@sender.test" in gateway.stderr())
    assert "one@sender.test" not in gateway.stderr() and "two@sender.test" not in log_of(gateway)


def test_restarted_role_logs_to_the_file(filed):
    pid = filed.roles()["front"]["pid"]
    os.kill(pid, signal.SIGKILL)
    harness.wait_for("front is back", lambda: (r := filed.roles()["front"])["up"] and r["pid"] != pid)
    harness.wait_for("it takes mail", lambda: not send(filed))
    harness.wait_for("it is logged", lambda: " mail_accepted " in log_of(filed))
    assert " mail_accepted " not in filed.stderr()


def test_11_03_file_holds_only_printable_ascii_and_whole_lines(make_gateway, sink):
    for kind in ("plain", "json"):
        gateway = make_gateway(next_hop=sink.address, log={"to": "./gw.log", "format": kind, "level": "debug"})
        be_nasty(gateway)
        harness.wait_for("the session is logged", lambda: "session_end" in log_of(gateway))
        data = (gateway.folder / "gw.log").read_bytes()
        assert set(data) <= set(range(0x20, 0x7f)) | {0x0a}, kind
        wanted = b"\\xe2\\x80\\xae" if kind == "plain" else b"\\u00e2\\u0080\\u00ae"
        assert wanted in data and b"[2J" in data
        lines = data.decode().splitlines()
        assert all(LINE.fullmatch(line) if kind == "plain" else json.loads(line) for line in lines)
        assert not [line for line in lines if line.startswith("y") or line.startswith("x")]


def test_11_43_no_key_and_no_content_at_any_level(make_gateway, sink):
    gateway = make_gateway(next_hop=sink.address, log={"to": "./gw.log", "level": "debug"}, metrics={"address": "127.0.0.1:0"})
    smtp.submit(gateway.address(), "alice@sender.test", "bob@good.test", harness.message("Subject-Secret", "Body-Secret\r\n"))
    gateway.tracked("delivered", sender="alice@sender.test")
    assert gateway.command("reload").returncode == 0
    (gateway.folder / "pki/server.key").write_text("-----BEGIN PRIVATE KEY-----\nVGhpcyBpcyBubyBrZXk=\n-----END PRIVATE KEY-----\n")
    assert gateway.command("reload").returncode == 1
    text = log_of(gateway) + gateway.stderr()
    assert "smtp_command" in text
    for word in ("Secret", "PRIVATE KEY", "VGhpcyBpcyBubyBrZXk"):
        assert word not in text, word
    for line in (pathlib.Path(gateway.folder) / "pki/ca.key").read_text().splitlines()[1:-1]:
        assert line not in text


# Sockets of the system. The gateway runs in a mount namespace where they are ours.


def may_unshare():
    return os.geteuid() == 0 and subprocess.run(["unshare", "-m", "true"], capture_output=True).returncode == 0


namespaced = pytest.mark.skipif(not may_unshare(), reason="needs root and mount namespaces")

SCRIPT = """#!/bin/sh
set -e
mkdir -p {folder}/dev {folder}/run/systemd/journal
for d in null zero random urandom; do touch {folder}/dev/$d; mount --bind /dev/$d {folder}/dev/$d; done
[ ! -e {folder}/log.socket ] || ln -sf {folder}/log.socket {folder}/dev/log
[ ! -e {folder}/journal.socket ] || ln -sf {folder}/journal.socket {folder}/run/systemd/journal/socket
mount --rbind {folder}/dev /dev
mount --bind {folder}/run /run
exec {binary} "$@"
"""


class Namespaced(harness.Gateway):
    """A gateway that sees another /dev and /run. It keeps its pid."""

    def start(self, wait=True):
        script = self.folder / "in-namespace"
        script.write_text(SCRIPT.format(folder=self.folder / "ns", binary=harness.BINARY))
        script.chmod(0o755)
        (self.folder / "ns").mkdir(exist_ok=True)
        self.log = open(self.errors, "ab")
        self.process = subprocess.Popen(["unshare", "-m", str(script), "-c", str(self.file), "run"],
            stdin=subprocess.DEVNULL, stdout=self.log, stderr=self.log, env=harness.environment())
        if wait:
            harness.wait_for("the gateway answers", lambda: self.command("status").returncode == 0)
        return self


class Daemon:
    """A datagram socket; collects what comes."""

    def __init__(self, path):
        path.parent.mkdir(exist_ok=True)
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.socket.bind(str(path))
        path.chmod(0o666)
        self.seen = []
        self.thread = threading.Thread(target=self._read, daemon=True)
        self.thread.start()

    def _read(self):
        while True:
            data = self.socket.recv(1 << 20)
            if data == b"end":
                return
            self.seen.append(data)

    def stop(self):
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as end:
            end.connect(self.socket.getsockname())
            end.send(b"end")
        self.thread.join(timeout=harness.PATIENCE)
        self.socket.close()

    def wait(self, word):
        return harness.wait_for(f"{word} is logged; seen: {self.seen[-5:]}",
            lambda: [d for d in list(self.seen) if word.encode() in d])


@pytest.fixture
def make_namespaced(pki, request):
    made = []

    def make(name, configuration):
        gateway = Namespaced(pki, configuration)
        daemon = Daemon(gateway.folder / "ns" / name) if name else None
        made.append((gateway, daemon))
        gateway.start(wait=name is not None)
        return gateway, daemon

    yield make
    for gateway, daemon in made:
        try:
            gateway.stop()
        finally:
            if daemon:
                daemon.stop()
            gateway.discard()


HEAD = re.compile(rb"<(\d+)>1 \d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z [!-~]+ postern-([a-z]+) (\d+) ([a-z_]+) - ")


@namespaced
@pytest.mark.parametrize("kind", ["plain", "json"])
def test_F8_11_03_syslog(make_namespaced, sink, kind):
    gateway, daemon = make_namespaced("log.socket",
        harness.settings(next_hop=sink.address, log={"to": "syslog", "format": kind, "level": "debug"}))
    be_nasty(gateway)
    send(gateway)
    daemon.wait(" delivered - ")
    daemon.wait(" session_end - ")
    pids = {role["pid"] for role in gateway.roles().values()}
    for data in list(daemon.seen):
        match = HEAD.match(data)
        assert match, data
        assert int(match.group(1)) in {2 * 8 + severity for severity in (3, 4, 6, 7)}
        assert int(match.group(3)) in pids
        assert set(data) <= set(range(0x20, 0x7f)), data
        rest = data[match.end():]
        assert (rest.split(b" ")[0] if kind == "plain" else json.loads(rest)["event"].encode()) == match.group(4)
    assert {HEAD.match(data).group(2) for data in daemon.seen} >= {b"master", b"front", b"deliver"}
    assert gateway.stderr() == ""


def fields_of(data):
    lines = data.split(b"\n")
    assert lines.pop() == b""
    pairs = [line.split(b"=", 1) for line in lines]
    assert all(len(pair) == 2 and re.fullmatch(rb"[A-Z][A-Z0-9_]*", pair[0]) for pair in pairs), data
    assert len({pair[0] for pair in pairs}) == len(pairs)
    return {key.decode(): value.decode() for key, value in pairs}


@namespaced
def test_F8_11_03_journal(make_namespaced, sink):
    gateway, daemon = make_namespaced("journal.socket",
        harness.settings(next_hop=sink.address, log={"to": "journal", "level": "debug"}))
    be_nasty(gateway)
    send(gateway)
    daemon.wait("POSTERN_EVENT=delivered\n")
    daemon.wait("POSTERN_EVENT=session_end\n")
    for data in list(daemon.seen):
        assert set(data) <= set(range(0x20, 0x7f)) | {0x0a}, data
        fields = fields_of(data)
        assert fields["PRIORITY"] in "3467" and fields["SYSLOG_IDENTIFIER"] == "postern"
        assert fields["MESSAGE"].split()[0] == fields["POSTERN_EVENT"]
        assert fields["POSTERN_ROLE"] in ("master", "front", "queue", "resolver", "deliver", "upkeep")
    delivered = fields_of(daemon.wait("POSTERN_EVENT=delivered\n")[0])
    assert delivered["POSTERN_RECIPIENT"] == "bob@good.test" and delivered["PRIORITY"] == "6"
    assert gateway.stderr() == ""
    done = gateway.command("log", "follow")
    assert done.returncode == 1 and "journalctl" in done.stderr and len(done.stderr.splitlines()) == 1, done.stderr


@namespaced
def test_daemon_that_ended_is_replaced_by_standard_error_until_a_reload(make_namespaced, sink):
    gateway, daemon = make_namespaced("log.socket", harness.settings(next_hop=sink.address, log={"to": "syslog"}))
    daemon.wait(" started - ")
    daemon.stop()
    (gateway.folder / "ns/log.socket").unlink()
    send(gateway, "lost@sender.test")
    harness.wait_for("it is on standard error", lambda: " mail_accepted " in gateway.stderr())
    fresh = Daemon(gateway.folder / "ns/log.socket")
    try:
        assert gateway.command("reload").returncode == 0
        send(gateway, "found@sender.test")
        fresh.wait("found@sender.test")
    finally:
        gateway.stop()
        fresh.stop()
        daemon.stop = lambda: None
    assert "found@sender.test" not in gateway.stderr()


@namespaced
@pytest.mark.parametrize("to,path", [("syslog", "/dev/log"), ("journal", "/run/systemd/journal/socket")])
def test_socket_that_is_not_there_is_said_at_start(make_namespaced, to, path):
    gateway, _ = make_namespaced(None, harness.settings(log={"to": to}))
    assert gateway.wait_end() == 1
    lines = gateway.stderr().splitlines()
    assert len(lines) == 1 and "log.to" in lines[0] and path in lines[0], lines


# postern log follow


class Follower:
    def __init__(self, gateway, *arguments):
        self.process = subprocess.Popen([str(harness.BINARY), "-c", str(gateway.file), "log", "follow", *arguments],
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=harness.environment())
        self.lines = []
        self.thread = threading.Thread(target=self._read, daemon=True)
        self.thread.start()

    def _read(self):
        for line in self.process.stdout:
            self.lines.append(line.rstrip("\n"))

    def wait(self, word):
        return harness.wait_for(lambda: f"{word} is followed; seen: {self.lines[-5:]}",
            lambda: [line for line in list(self.lines) if word in line])

    def stop(self, number=signal.SIGTERM):
        self.process.send_signal(number)
        code = self.process.wait(timeout=harness.PATIENCE)
        self.thread.join(timeout=harness.PATIENCE)
        text = self.process.stderr.read()
        self.process.stdout.close()
        self.process.stderr.close()
        assert not harness.SANITIZER_REPORT.search(text), text
        return code


@pytest.fixture
def make_follower():
    made = []

    def make(*arguments):
        made.append(Follower(*arguments))
        return made[-1]

    yield make
    for follower in made:
        if follower.process.poll() is None:
            follower.process.kill()
            follower.process.wait()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_follow_shows_the_last_ten_lines_and_goes_on(filed, make_follower, number):
    with open(filed.folder / "gw.log", "a") as log:
        log.writelines(f"2026-11-21T10:20:30.123Z info test line n={n}\n" for n in range(30))
    follower = make_follower(filed)
    follower.wait("n=29")
    send(filed)
    follower.wait(" delivered ")
    assert [line.rsplit("=")[1] for line in follower.lines if " test line " in line] == [str(n) for n in range(20, 30)]
    assert follower.stop(number) == 0
    assert not [line for line in follower.lines if not LINE.fullmatch(line)]


def test_follow_survives_rotation_and_shows_every_line_once(filed, make_follower):
    follower = make_follower(filed)
    follower.wait(" started ")
    for n in range(4):
        send(filed, f"a{n}@sender.test")
        os.rename(filed.folder / "gw.log", filed.folder / f"gw.log.{n}")
        send(filed, f"b{n}@sender.test")  # still in the renamed one
        assert filed.command("reload").returncode == 0
    send(filed, "end@sender.test")
    filed.tracked("delivered", sender="end@sender.test")
    for name in [f"{c}{n}" for n in range(4) for c in "ab"] + ["end"]:
        assert len(of(follower.wait(f"{name}@sender.test"), "mail_accepted")) == 1, name
    assert follower.stop() == 0
    assert len(follower.lines) == len(set(follower.lines))


def test_follow_survives_truncation(filed, make_follower):
    follower = make_follower(filed)
    follower.wait(" started ")
    os.truncate(filed.folder / "gw.log", 0)
    send(filed)
    assert len(of(follower.wait("alice@sender.test"), "mail_accepted")) == 1
    assert follower.stop() == 0


def test_follow_waits_for_a_file_that_is_not_there_yet(make_gateway, sink, make_follower):
    gateway = make_gateway(start=False, next_hop=sink.address, log={"to": "./gw.log"})
    follower = make_follower(gateway)
    harness.wait_for("it waits", lambda: pathlib.Path(f"/proc/{follower.process.pid}/wchan").exists()
        and "inotify" in " ".join(os.readlink(fd) for fd in pathlib.Path(f"/proc/{follower.process.pid}/fd").iterdir()))
    gateway.start()
    follower.wait(" started ")
    assert follower.stop() == 0


@pytest.mark.parametrize("kind", ["plain", "json"])
def test_follow_json_is_the_same_for_both_formats(make_gateway, sink, make_follower, kind):
    gateway = make_gateway(next_hop=sink.address, log={"to": "./gw.log", "format": kind, "level": "debug"})
    follower = make_follower(gateway, "--json")
    follower.wait('"started"')
    be_nasty(gateway)
    send(gateway)
    follower.wait('"delivered"')
    follower.wait('"session_end"')
    assert follower.stop() == 0
    events = [json.loads(line) for line in follower.lines]
    assert all({"time", "level", "role", "event"} <= set(event) for event in events), events
    nasty = [e["line"] for e in events if e["event"] == "smtp_command" and e["line"].startswith("NOOP x")]
    assert nasty == ["NOOP " + NASTY.decode("latin-1")]
    accepted = [e for e in events if e["event"] == "mail_accepted"][0]
    assert accepted["mid"] == 1 and accepted["sender"] == "alice@sender.test"


def test_follow_cleans_what_others_wrote_into_the_file(filed, make_follower):
    follower = make_follower(filed)
    follower.wait(" started ")
    with open(filed.folder / "gw.log", "ab") as log:
        log.write(b"\x1b]0;owned\x07 \xe2\x80\xae\n" + b"long" * 5000 + b"\nlast\n")
    follower.wait("last")
    assert all(set(line.encode()) <= set(range(0x20, 0x7f)) for line in follower.lines)
    assert follower.stop() == 0


def test_follow_says_where_the_log_is_when_it_is_no_file(gateway):
    done = gateway.command("log", "follow")
    assert done.returncode == 1
    assert "standard error" in done.stderr and "journalctl -u postern -f" in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_follow_without_a_gateway_and_while_the_file_is_broken(filed, make_follower):
    filed.configure("listeners: [\n" + filed.file.read_text())
    broken = filed.command("log", "follow")
    assert broken.returncode == 1 and "postern.yaml" in broken.stderr  # not even runtime_dir can be read
    filed.configure(harness.settings(log={"to": "./gw.log"}))
    filed.stop()
    follower = make_follower(filed)
    follower.wait(" stopped ")
    assert follower.stop() == 0


def test_follow_usage(gateway):
    for arguments in (["log"], ["log", "show"], ["log", "follow", "--x"]):
        done = gateway.command(*arguments)
        assert done.returncode == 2 and "log follow" in done.stderr, done.stderr
