"""Conformance 11a and 11f: what is written to logs and stores, privileges, local sockets, secrets, the build."""

import json
import os
import pathlib
import re
import signal
import socket
import stat
import time

import pytest

import harness
import smtp
from test_conformance_resources import plain

as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root drops privileges and may look into other processes")

ROLES = ("front", "queue", "deliver", "resolver", "keys", "upkeep")
EVENT = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z (error|warn|info|debug) \w+ \w+( \w+=(\"[ -~]*\"|[!-~]*))*")


# Log lines


def nasty():
    """Command lines that would break a log line, a terminal or a reader of JSON."""
    for bad in ("\x1b[31mred", "\x00", "\r", "\x85", "\u2028", "\u202emoc.live", "\u2066", 'a" b=c', "a\\", "\x7f", "%s%n", "\tx",
            "time=now level=error"):
        yield f"EHLO {bad}.test"
        yield f"MAIL FROM:<\"{bad}\"@sender.test> SMTPUTF8"
        yield f"RCPT TO:<\"{bad}\"@elsewhere.test>"
        yield f"VRFY {bad}"
        yield f"{bad} unknown"
        yield "RSET"
    for bad in (b"\xff\xfe", b"\xc2\x85", b"\xe2\x80\xa8"):
        yield b"EHLO " + bad
        yield b"MAIL FROM:<" + bad + b"@sender.test>"


@pytest.mark.parametrize("style", ["plain", "json"])
def test_11_03_one_event_is_one_line(make_gateway, sink, style):
    gateway = make_gateway(next_hop=sink.address, log={"level": "debug", "format": style}, limits={"errors": 1000, "commands": 1000})
    for command in nasty():
        with smtp.Client(gateway.address()) as c:
            try:
                c.ehlo()
                c.do("MAIL FROM:<a@sender.test> SMTPUTF8")
                c.do(command)
                c.do("NOOP")
            except smtp.Closed:
                pass
    text = gateway.errors.read_bytes().decode("ascii")  # nothing but ASCII
    assert not re.search(r"[\x00-\x09\x0b-\x1f\x7f]", text)
    lines = text.splitlines()
    assert len(lines) > 100
    for line in lines:
        assert len(line) <= 4096
        if style == "json":
            assert {"time", "level", "role", "event"} <= set(json.loads(line)), line
        else:
            assert EVENT.fullmatch(line), line
    assert not [line for line in lines if "time=now level=error" in line and '"' not in line]


def test_11_03_replies_of_peers_and_tracking(make_gateway, make_peer):
    """What a mail server behind answers is logged and tracked as one line, too."""
    peer = make_peer(rcpt="550 5.1.1 \x1b[31mno\u2028\u202e\x07 \"quoted\" \x85 level=error")
    gateway = make_gateway(next_hop=peer.address)
    smtp.submit(gateway.address(), "", "bob@good.test", harness.message())
    gateway.tracked("bounced", recipient="bob@good.test")
    text = gateway.errors.read_bytes().decode("ascii")
    assert all(EVENT.fullmatch(line) for line in text.splitlines())
    for options in ([], ["--json"]):
        said = gateway.command("track", "--recipient", "bob@good.test", *options).stdout
        assert not re.search("[\x00-\x09\x0b-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069]", said), said


# Fields and statements


@pytest.mark.parametrize("name", ["a;b", 'a"b', "a\\b", "a(b", "a)b", "a<b>", "a@b", "=?utf-8?q?x?=", "[1.2.3.4", "x,y", "::", "a\\)b"])
def test_11_05_received_quotes_the_name_of_the_client(gateway, sink, name):
    content = harness.message()
    with smtp.Client(gateway.address()) as c:
        reply = c.do(f"EHLO {name}")
        if reply.code != 250:
            assert (reply.code, reply.status) == (501, "5.5.4"), reply
            return
        c.mail("a@sender.test", "bob@good.test", content)
        c.quit()
    stored = sink.content(sink.wait()[0])
    field, rest = harness.split_received(stored)
    assert rest == content
    outside = without_comments(field)
    assert re.fullmatch(r"Received: from \S+ by gw\.good\.test\s+with ESMTPS?\s.*; \w{3}, \d\d? \w{3} 20\d\d [\d:]{8} [+-]\d{4}",
        re.sub(r"\s+", " ", outside).replace(" ;", ";").replace(" by", " by").strip()) or outside.count(";") == 1, field
    assert name not in outside or re.fullmatch(r"[A-Za-z0-9.\-\[\]:]+", name), f"it stands outside a comment: {field}"


def without_comments(field):
    """The field without its comments; asserts that they are balanced."""
    out, depth, quoted = "", 0, False
    for c in field:
        if quoted:
            quoted = False
        elif c == "\\":
            quoted = True
        elif c in "()":
            depth += 1 if c == "(" else -1
            assert depth >= 0, field
            continue
        if depth == 0:
            out += c
    assert depth == 0, field
    return out


HOSTILE = ["\"x'/**/UNION/**/SELECT/**/1;--\"", "\"'; DROP TABLE mail; --\"", "\"%' OR '1'='1\"", "\"\\\"; DELETE FROM queue; --\"",
    "o'brien", "x%", "x_", "\"a\\\\\"", "$1", "?1", ":a", "a*b", "[a-z]"]


def test_11_06_addresses_are_values_not_statements(make_gateway, sink):
    hostile = [name for name in HOSTILE if not name.startswith((":", "["))]
    gateway = make_gateway(next_hop=sink.address)
    sent = [(f"{name}@sender.test", f"{name}@good.test") for name in hostile]
    with smtp.Client(gateway.address()) as c:
        c.ehlo()
        for sender, recipient in sent:
            c.mail(sender, recipient, harness.message())
        c.quit()
    gateway.tracked("delivered", count=len(sent))
    for sender, recipient in sent:
        assert [r["sender"] for r in gateway.track(sender=sender)] == [sender]
        assert [r["sender"] for r in gateway.track(recipient=recipient)] == [sender]
    for question in ("' OR 1=1 --", "%", "_", "*", "\"; DROP TABLE mail; --"):
        assert gateway.track(sender=question) == []
    gateway.stop()
    gateway.start()
    assert len(gateway.track()) == len(sent), "and nothing is lost"


# Privileges


@as_root
@pytest.mark.parametrize("capability", ["setuid", "setgid"])
def test_11_40_without_the_right_to_drop_privileges_nothing_starts(make_gateway, capability):
    gateway = make_gateway(start=False)
    done = harness.run("setpriv", "--bounding-set", f"-{capability}", harness.BINARY, "-c", gateway.file, "run", timeout=60)
    assert done.returncode not in (0, -11, 139), done
    assert not harness.SANITIZER_REPORT.search(done.stderr), done.stderr
    assert re.search(r"setuid|setgid|setgroups|user|privilege|permitted", done.stderr, re.I), done.stderr
    assert gateway.command("status").returncode == 75, "nothing runs"


@as_root
def test_11_40_what_the_roles_may(gateway):
    for name, role in gateway.roles().items():
        fields = dict(line.split(":", 1) for line in pathlib.Path(f"/proc/{role['pid']}/status").read_text().splitlines())
        if name == "master":
            continue
        assert all(int(fields[cap], 16) == 0 for cap in ("CapEff", "CapPrm", "CapInh", "CapAmb")), name
        assert fields["NoNewPrivs"].strip() == "1", name
        assert "0" not in fields["Uid"].split() + fields["Gid"].split() + fields["Groups"].split(), name


# Local sockets


def test_11_41_garbage_on_the_control_socket(gateway):
    before = {name: role["pid"] for name, role in gateway.roles().items()}
    path = gateway.folder / "run/control"
    assert stat.S_ISSOCK(path.stat().st_mode)
    for garbage in (b"", b"\n", b"status\n", b"\0" * 16, b"\xff" * 64, b"\xff\xff\xff\x7f" * 4, b"A" * 4000, os.urandom(1000), b"\0" * 60000):
        with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as s:
            s.settimeout(harness.PATIENCE)
            s.connect(str(path))
            try:
                s.send(garbage)
                s.send(garbage * 2)
                s.shutdown(socket.SHUT_WR)
                s.recv(65536)
            except (BrokenPipeError, ConnectionResetError, OSError) as e:
                assert not isinstance(e, TimeoutError), f"no end after {garbage[:20]!r}"
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as silent:
        silent.connect(str(path))  # one that says nothing does not keep others from being heard
        assert {name: role["pid"] for name, role in gateway.roles().items()} == before
    smtp.submit(gateway.address(), "a@sender.test", "bob@good.test", harness.message())
    gateway.tracked("delivered", sender="a@sender.test")


def test_11_41_stream_of_descriptors(gateway):
    """Descriptors that nobody asked for are not kept."""
    pid = gateway.process.pid
    before = len(os.listdir(f"/proc/{pid}/fd")) if os.geteuid() == 0 else 0
    with open("/dev/null") as null:
        for _ in range(20):
            with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as s:
                s.connect(str(gateway.folder / "run/control"))
                try:
                    socket.send_fds(s, [b"x" * 20], [null.fileno()] * 8)
                except OSError:
                    pass
    assert gateway.status()["generation"] == 1
    if before:
        harness.wait_for("the descriptors are closed", lambda: len(os.listdir(f"/proc/{pid}/fd")) <= before)


# Roles that die


def test_11_42_pauses_grow_and_the_others_work(gateway, sink):
    others = {name: gateway.roles()[name]["pid"] for name in ("front", "queue")}
    pauses = []
    for n in range(5):
        role = gateway.roles()["deliver"]
        os.kill(role["pid"], signal.SIGKILL)
        died = time.monotonic()
        smtp.submit(gateway.address(), f"n{n}@sender.test", "bob@good.test", harness.message())

        def is_back():
            now = gateway.roles()["deliver"]
            return now["up"] and now["pid"] != role["pid"] and harness.is_alive(now["pid"])

        harness.wait_for("deliver is back", is_back)
        pauses.append(time.monotonic() - died)
    announced = [int(n) for n in re.findall(r"role_died name=deliver .*again_in_ms=(\d+)", gateway.stderr())]
    assert len(announced) == 5 and announced == sorted(announced) and announced[-1] >= 8 * announced[0], announced
    assert pauses[-1] >= announced[-1] / 1000 * 0.9, (pauses, announced)
    assert {name: gateway.roles()[name]["pid"] for name in others} == others
    gateway.tracked("delivered", count=5, recipient="bob@good.test")
    assert gateway.roles()["deliver"]["restarts"] == 5


# Secrets


@as_root
def test_11_43_no_core_dumps(gateway):
    for name, role in gateway.roles().items():
        limits = pathlib.Path(f"/proc/{role['pid']}/limits").read_text()
        assert re.search(r"Max core file size\s+0\s+0\s", limits), name
        assert pathlib.Path(f"/proc/{role['pid']}/mem").stat().st_uid == 0, f"{name} is dumpable"


@pytest.mark.parametrize("style", ["plain", "json"])
def test_11_43_no_secret_in_the_log_at_any_level(make_gateway, sink, style):
    """AUTH is not offered, but a client may try it; its password is not ours to write down."""
    gateway = make_gateway(next_hop=sink.address, log={"level": "debug", "format": style})
    secrets = ["AGFsaWNlAHMzY3IzdC1wYXNzd29yZA==", "YWxpY2VAZ29vZC50ZXN0", "czNjcjN0LXBhc3N3b3Jk"]
    with smtp.Client(gateway.address()) as c:
        c.ehlo()
        c.do(f"AUTH PLAIN {secrets[0]}")
        c.do(f"auth login {secrets[1]}")
        c.do(f"AUTH XOAUTH2 {secrets[2]}")
        c.mail("a@sender.test", "bob@good.test", harness.message(body="body-of-the-mail\r\n"))
        c.quit()
    with smtp.Client(gateway.address()) as c:
        c.ehlo()
        c.starttls()
        c.ehlo()
        c.do(f"AUTH PLAIN {secrets[0]}")
        c.quit()
    gateway.tracked("delivered", sender="a@sender.test")
    key = (gateway.folder / "pki/server.key").read_text().splitlines()[1]
    log = gateway.stderr()
    assert "AUTH" in log.upper(), "at this level the attempt itself is logged"
    for secret in (*secrets, key, "body-of-the-mail"):
        assert secret not in log, secret


def memory_holds(pid, words):
    """Those of the words that stand in the writable memory of a process."""
    found = set()
    with open(f"/proc/{pid}/maps") as maps, open(f"/proc/{pid}/mem", "rb", 0) as memory:
        for line in maps:
            span, rights, *rest = line.split()
            low, high = (int(n, 16) for n in span.split("-"))
            if "w" not in rights or high - low > 1 << 30 or "memfd:" in line:
                continue
            try:
                memory.seek(low)
                block = memory.read(high - low)
            except OSError:
                continue
            found |= {word for word in words if word in block}
    return found


def key_text(folder):
    """Lines of the private key's file."""
    return {line for line in (folder / "pki/server.key").read_bytes().splitlines() if len(line) >= 40 and b"-----" not in line}


def holders(gateway, words):
    return [name for name, role in gateway.roles().items() if memory_holds(role["pid"], words)]


@as_root
@pytest.mark.parametrize("event", ["start", "reload", "keys again"])
def test_11_44_the_text_of_a_key_is_nowhere_once_it_is_read(gateway, event):
    """Master puts it away in a sealed memfd, `keys` has the key and not its text, and no other role ever had it."""
    words = key_text(gateway.folder)
    assert words
    with open(gateway.folder / "pki/server.key", "rb") as file:
        held = file.read()
        assert memory_holds(os.getpid(), words), "the search can find it"
        del held
    if event == "reload":
        assert gateway.command("reload").returncode == 0
    elif event == "keys again":
        old = gateway.roles()["keys"]["pid"]
        os.kill(old, signal.SIGKILL)
        harness.wait_for("keys is back", lambda: gateway.roles()["keys"]["up"] and gateway.roles()["keys"]["pid"] != old)
    assert holders(gateway, words) == []


def test_11_44_wiping_is_not_optimised_away():
    """Whoever copies the bytes of a file wipes the copy by a function that the optimiser must not drop."""
    done = harness.run("readelf", "-W", "--dyn-syms", plain())
    assert "explicit_bzero" in done.stdout
    bundle = (harness.ROOT / "src/config/bundle.c").read_text()
    assert bundle.count("explicit_bzero(") >= 2 and "memset(" not in bundle


# The build


def test_11_45_the_build_is_hardened():
    """The optimised binary, as it is installed."""
    text = harness.run("readelf", "-W", "-h", "-l", "-d", "--dyn-syms", plain()).stdout
    assert re.search(r"Type:\s+DYN", text), "position-independent"
    assert "GNU_RELRO" in text and re.search(r"BIND_NOW|FLAGS_1.*NOW", text), "full RELRO"
    assert re.search(r"GNU_STACK\s+\S+ \S+ \S+ \S+ \S+ RW ", text), "no executable stack"
    assert not re.search(r"LOAD.* RWE ", text)
    assert "__stack_chk_fail" in text, "stack protector"
    assert len(set(re.findall(r"__\w+_chk\b", text)) - {"__stack_chk_fail"}) >= 3, "FORTIFY_SOURCE"
    assert not re.search(r"TEXTREL|R(UN)?PATH", text)
    assert "-D_FORTIFY_SOURCE=3" in (harness.ROOT / "meson.build").read_text()


def test_11_45_each_parser_has_a_fuzz_target():
    targets = {p.stem.removeprefix("fuzz_") for p in (harness.ROOT / "tests/fuzz").glob("fuzz_*.c")}
    wanted = {"command line": "command", "address": "address", "reply of a peer": "reply", "configuration": "config", "DATA": "mail_data",
        "PROXY header": "proxy", "xtext": "xtext", "message header": "header_scan", "BDAT": "bdat", "whole session": "session",
        "answer of the DNS": "dns_message", "PEM file": "pem_frame", "ask for a signature": "sign"}
    missing = [what for what, word in wanted.items() if not any(word in target for target in targets)]
    assert not missing, f"tests/fuzz has {sorted(targets)}; without a target: {missing}"
