"""Peers that misbehave at every step of a delivery: silent, slow, talkative, closing, refusing. Conformance section 2."""

import json
import re
import socket
import sqlite3
import threading

import pytest

import harness
import peer as scripted
import smtp

LATER = {"retry": ["1h"]}
INJECTED = b"250 2.0.0 injected\r\n"


def send(gateway, sender="alice@sender.test", recipients="bob@good.test", content=None):
    return smtp.submit(gateway.address(), sender, recipients, content or harness.message())


def only_attempt(record):
    (attempt,) = record["recipients"][0]["attempts"]
    return attempt


def one(make_gateway, make_peer, state, delivery=None, level="none", content=None, **peer):
    """One mail to one peer; the peer, and the only attempt once the mail is in `state`."""
    server = make_peer(**peer)
    gateway = make_gateway(next_hop=server.address, delivery_tls=level, delivery=delivery or LATER)
    send(gateway, content=content)
    return server, only_attempt(gateway.tracked(state, sender="alice@sender.test"))


def verbs_of(server):
    return [session.verbs() for session in server.wait_sessions()]


# The door


@pytest.mark.parametrize("reply", ["554 5.7.1 not you", "550 5.7.1 not you", "421 4.3.2 busy"])
def test_2_09_2_10_a_refused_ehlo_is_a_refusal_of_this_host(make_gateway, make_peer, reply):
    server, attempt = one(make_gateway, make_peer, "deferred", ehlo=reply)
    assert attempt["reply"].startswith("450 4.3.2") and reply in attempt["reply"]
    assert "HELO" not in verbs_of(server)[0]


@pytest.mark.parametrize("reply", ["500 5.5.2 what?", "502 5.5.1 not here"])
def test_2_10_an_unknown_ehlo_is_followed_by_helo(make_gateway, make_peer, reply):
    server, _ = one(make_gateway, make_peer, "delivered", level="preferred", ehlo=reply)
    assert server.sessions[0].verbs()[:3] == ["EHLO", "HELO", "MAIL"]


def test_2_10_where_tls_is_a_must_helo_is_not_even_tried(make_gateway, make_peer):
    server, attempt = one(make_gateway, make_peer, "deferred", level="required", esmtp=False)
    assert attempt["reply"].startswith("450 4.7.5")
    assert verbs_of(server)[0] == ["EHLO"]


def test_2_10_mail_in_utf8_waits_for_a_peer_that_takes_ehlo(make_gateway, make_peer):
    server = make_peer(ehlo=["502 5.5.1 not today", "502 5.5.1 not today", None], offers=("SMTPUTF8", "8BITMIME"))
    gateway = make_gateway(next_hop=server.address, delivery_tls="none", delivery={"retry": ["1s"]})
    with smtp.Client(gateway.address()) as c:
        c.ehlo()
        c.envelope("jürgen@sender.test", "bob@good.test", "SMTPUTF8")
        assert c.data(harness.message()).code == 250
    record = gateway.tracked("delivered", sender="jürgen@sender.test")
    assert record["recipients"][0]["attempts"][0]["reply"].startswith("450 4.6.7")
    assert server.messages[0].sender.encode("latin-1").decode() == "jürgen@sender.test"


def test_2_09_5xx_to_rcpt_is_final(make_gateway, make_peer):
    server = make_peer(rcpt={"bob@good.test": "550 5.1.1 nobody"})
    gateway = make_gateway(next_hop=server.address, delivery={"retry": ["100ms"]})
    send(gateway, recipients=["bob@good.test", "carol@good.test"])
    send(gateway, sender="later@sender.test", recipients="carol@good.test")
    gateway.tracked("delivered", sender="later@sender.test")
    record = gateway.track(sender="alice@sender.test")[0]
    assert {r["address"]: (r["state"], len(r["attempts"])) for r in record["recipients"]} == {
        "bob@good.test": ("bounced", 1), "carol@good.test": ("delivered", 1)}
    asked = [line for s in server.sessions for line, _ in s.commands if "bob@good.test" in line]
    assert asked == ["RCPT TO:<bob@good.test>"]


def test_a_peer_that_greets_with_4xx_for_a_while_gets_the_mail(make_gateway, make_peer):
    server = make_peer(greeting=["421 4.3.2 starting", "450 4.3.2 starting", "421 4.3.2 nearly", "220 mx.good.test"])
    gateway = make_gateway(next_hop=server.address, delivery={"retry": ["200ms"]})
    send(gateway)
    record = gateway.tracked("delivered", sender="alice@sender.test")
    replies = [a["reply"] for a in record["recipients"][0]["attempts"]]
    assert [r[:9] for r in replies] == ["450 4.3.2"] * 3 + ["250 2.0.0"]
    assert "421 4.3.2 nearly" in replies[2]


# STARTTLS


@pytest.mark.parametrize("level", ["preferred", "required"])
@pytest.mark.parametrize("injected", [INJECTED, INJECTED * 10, b"x", b"\r\n", b"\x15\x03\x03\x00\x02\x02\x28"],
    ids=["reply", "replies", "byte", "line", "alert"])
def test_2_11_bytes_behind_the_220_of_starttls_end_the_connection(make_gateway, make_peer, level, injected):
    server, attempt = one(make_gateway, make_peer, "deferred", level=level, starttls=b"220 2.0.0 go on\r\n" + injected)
    assert attempt["reply"].startswith("450 4.7.5")
    assert "bytes followed the 220 in clear" in attempt["tls"]["reason"]
    assert verbs_of(server) == [["EHLO", "STARTTLS"]], "nothing in clear, and no second connection"


def test_2_11_bytes_in_the_segment_after_the_220_are_no_tls(make_gateway, make_peer):
    def late(connection):
        connection.sendall(b"220 2.0.0 go on\r\n")
        connection.recv(1)  # the ClientHello
        connection.sendall(INJECTED)
        scripted.silent(connection)

    server, attempt = one(make_gateway, make_peer, "deferred", level="preferred", starttls=late)
    assert attempt["reply"].startswith("450 4.7.5")
    assert verbs_of(server) == [["EHLO", "STARTTLS"]]


def test_2_11_what_was_offered_in_clear_is_forgotten(make_gateway, make_peer):
    server, _ = one(make_gateway, make_peer, "delivered", level="preferred", tls_offers=(), size=None,
        offers=("PIPELINING", "8BITMIME", "SMTPUTF8", "DSN", "CHUNKING", "SIZE 10", "LIMITS RCPTMAX=1"))
    commands = [line for line, tls in server.sessions[0].commands if tls]
    assert commands[:4] == ["EHLO gw.good.test", "MAIL FROM:<alice@sender.test>", "RCPT TO:<bob@good.test>", "DATA"]


def test_2_11_what_was_offered_in_clear_is_forgotten_even_if_ehlo_is_refused_in_tls(make_gateway, make_peer):
    server, _ = one(make_gateway, make_peer, "delivered", level="required", ehlo=[None, "502 5.5.1 not in TLS"],
        offers=("PIPELINING", "8BITMIME", "DSN", "CHUNKING"))
    commands = [line for line, tls in server.sessions[0].commands if tls]
    assert commands[:5] == ["EHLO gw.good.test", "HELO gw.good.test", "MAIL FROM:<alice@sender.test>", "RCPT TO:<bob@good.test>", "DATA"]


@pytest.mark.parametrize("starttls", ["absent", "refused", "502 5.5.1 no", "554 5.7.3 no"])
def test_2_12_absent_or_refused_before_the_220_goes_in_clear_on_the_same_connection(make_gateway, make_peer, starttls):
    server, attempt = one(make_gateway, make_peer, "delivered", level="preferred", starttls=starttls)
    assert len(server.sessions) == 1 and server.messages[0].tls is None
    assert attempt["tls"]["obtained"] == "none" and attempt["tls"]["reason"]


def test_2_12_a_failed_handshake_is_not_retried_in_clear_in_later_attempts_either(make_gateway, make_peer):
    server = make_peer(starttls="broken")
    gateway = make_gateway(next_hop=server.address, delivery_tls="preferred", delivery={"retry": ["100ms"]})
    send(gateway)
    for session in server.wait_sessions(4):
        assert session.verbs() == ["EHLO", "STARTTLS"]


NEVER_CLEAR = {"no_ehlo": {"esmtp": False}, "absent": {"starttls": "absent"}, "454": {"starttls": "refused"}, "421": {"starttls": "421 4.3.2 no"},
    "502": {"starttls": "502 5.5.1 no"}, "broken": {"starttls": "broken"}, "inject": {"starttls": "inject"}, "closed": {"starttls": scripted.close},
    "nonsense": {"starttls": "what?"}, "two_lines": {"starttls": "220-go\r\n220 on\r\n250 and on"}}


@pytest.mark.parametrize("what", NEVER_CLEAR)
def test_2_13_required_is_never_delivered_in_clear(make_gateway, make_peer, what):
    server = make_peer(**NEVER_CLEAR[what])
    gateway = make_gateway(next_hop=server.address, delivery_tls="required", delivery={"retry": ["100ms"]})
    send(gateway)
    sessions = server.wait_sessions(3)
    gateway.tracked("deferred", sender="alice@sender.test")
    for session in sessions:
        for verb in ("HELO", "MAIL", "RCPT", "DATA", "BDAT"):
            assert not session.said_in_clear(verb), session.commands


# Silence


SILENCES = {"greeting": {"greeting": scripted.silent}, "hello": {"ehlo": scripted.silent}, "starttls": {"starttls": "silent"},
    "mail": {"mail": scripted.silent}, "rcpt": {"rcpt": scripted.silent}, "data": {"data": scripted.silent}, "end": {"dot": scripted.silent}}


@pytest.mark.parametrize("step", SILENCES)
def test_2_19_each_step_has_a_time_of_its_own(make_gateway, make_peer, step):
    server, attempt = one(make_gateway, make_peer, "deferred", level="preferred", delivery=LATER | {"timeouts": {step: "300ms"}}, **SILENCES[step])
    assert attempt["reply"].startswith("450 4.7.5" if step == "starttls" else "450 4.4.2"), attempt
    assert "timed out" in attempt["reply"]
    assert server.messages == []


def test_2_19_connecting_has_its_time(make_gateway):
    with socket.create_server(("127.0.0.1", 0), backlog=0) as full:
        address = full.getsockname()
        with socket.create_connection(address):  # the queue is full now: the kernel drops what else wants in
            gateway = make_gateway(next_hop=f"127.0.0.1:{address[1]}", delivery=LATER | {"timeouts": {"connect": "300ms"}})
            send(gateway)
            attempt = only_attempt(gateway.tracked("deferred", sender="alice@sender.test"))
            assert attempt["reply"].startswith("450 4.4.1") and "timed out" in attempt["reply"]


def test_2_19_a_peer_that_does_not_read_has_its_time_for_each_piece(make_gateway, make_peer):
    def stuck(connection):
        connection.sendall(b"354 go on\r\n")
        done.wait(harness.PATIENCE)

    done = threading.Event()
    try:
        server, attempt = one(make_gateway, make_peer, "deferred", delivery=LATER | {"timeouts": {"block": "300ms"}}, data=stuck, buffer=4096,
            content=harness.message("large", ("x" * 70 + "\r\n") * 200_000))
    finally:
        done.set()
    assert attempt["reply"].startswith("450 4.4.2") and "during DATA" in attempt["reply"] and "timed out" in attempt["reply"]


def test_2_19_the_times_of_rfc_5321_are_the_defaults(make_gateway):
    gateway = make_gateway(start=False)
    shown = gateway.json("config", "show")["delivery"]["timeouts"]
    assert shown == {"connect": "30s", "greeting": "5m", "hello": "5m", "starttls": "2m", "mail": "5m", "rcpt": "5m", "data": "2m", "block": "3m",
        "end": "10m"}


def test_a_reply_that_drips_ends_with_its_step(make_gateway, make_peer):
    """The time is for the whole reply, not for each byte of it."""
    def drip(connection):
        while not ended.wait(0.05):
            connection.sendall(b"2")

    ended = threading.Event()
    try:
        _, attempt = one(make_gateway, make_peer, "deferred", delivery=LATER | {"timeouts": {"mail": "500ms"}}, mail=drip)
    finally:
        ended.set()
    assert "timed out" in attempt["reply"]


def test_replies_in_small_pieces_are_replies(make_gateway, make_peer):
    class Slowly:
        """Each byte in a segment of its own."""

        def __init__(self, connection):
            self.connection = connection
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

        def sendall(self, data):
            for n in range(len(data)):
                self.connection.sendall(data[n:n + 1])

        def __getattr__(self, name):
            return getattr(self.connection, name)

    server = make_peer(starttls="absent")
    serve = server._serve
    server._serve = lambda connection: serve(Slowly(connection))
    gateway = make_gateway(next_hop=server.address)
    send(gateway)
    gateway.tracked("delivered", sender="alice@sender.test")


# Replies that are none


NONSENSE = {"99": "99 what", "999": "999 what", "short": "25", "differing": "250-never\r\n550 mixed", "NUL": b"\0\0\r\n", "binary": bytes(range(256)),
    "http": b"HTTP/1.1 400 Bad Request\r\n\r\n", "endless": scripted.flood(b"250-more\r\n", 200_000), "10000_lines": b"250-x\r\n" * 10_000 + b"250 x\r\n",
    "long_line": b"250 " + b"x" * 100_000 + b"\r\n"}


@pytest.mark.parametrize("step", ["greeting", "ehlo", "mail", "rcpt", "data", "dot"])
@pytest.mark.parametrize("what", NONSENSE)
def test_2_20_what_is_no_reply_fails_this_host(make_gateway, make_peer, what, step):
    server, attempt = one(make_gateway, make_peer, "deferred", **{step: NONSENSE[what]})
    assert attempt["reply"].startswith("450 4.5.0"), attempt["reply"]
    assert len(server.wait_sessions()) == 1
    assert server.messages == [] or step == "dot"


def resident(pid):
    """MiB of memory that the process has."""
    with open(f"/proc/{pid}/status") as status:
        return int(re.search(r"VmRSS:\s+(\d+)", status.read()).group(1)) / 1024


def test_2_20_floods_do_not_grow_the_memory(make_gateway, make_peer):
    flood = [scripted.flood(b"250-" + b"x" * 60_000, 1700), scripted.flood(b"x" * 60_000, 1700), scripted.flood(b"250-more\r\n" * 1000, 10_000)]
    server = make_peer(mail=["250 ok"] + flood * 4 + ["250 ok"])
    gateway = make_gateway(next_hop=server.address, delivery_tls="none", delivery={"retry": ["100ms"]})
    send(gateway, sender="first@sender.test")
    gateway.tracked("delivered", sender="first@sender.test")
    before = resident(gateway.roles()["deliver"]["pid"])
    send(gateway)
    record = gateway.tracked("delivered", sender="alice@sender.test")
    assert len(record["recipients"][0]["attempts"]) >= 12  # the first may use two: one over the old connection
    assert gateway.roles()["deliver"]["restarts"] == 0
    after = resident(gateway.roles()["deliver"]["pid"])
    assert after - before < 20, f"{before} MiB before, {after} MiB after"


def test_2_20_garbage_in_a_reply_is_neutralised_in_tracking_log_and_report(make_gateway, make_peer):
    hostile = b"550-5.1.1 no \0 \x1b[31mred\r\n550 5.1.1 \xff\xc2\x85 \"quoted\" event=forged\r\n"
    server = make_peer(rcpt={"bob@good.test": hostile})
    gateway = make_gateway(harness.settings(accepted_domains=["good.test"], delivery=LATER, routes=[{"domain": "default", "next_hop": server.address}]))
    send(gateway)
    attempt = only_attempt(gateway.tracked("bounced", recipient="bob@good.test"))
    assert attempt["reply"] == "550 5.1.1 no ? ?[31mred ??? \"quoted\" event=forged"
    (report,) = server.wait()
    assert all(32 <= byte < 127 or byte in b"\r\n\t" for byte in report.content)
    lines = [line for line in gateway.stderr().splitlines() if " bounced " in line]
    assert len(lines) == 1 and lines[0].isprintable()


# Replies that come too early


EARLY = {"mail": b"250 2.1.0 ok\r\n250 2.1.5 early\r\n", "rcpt": b"250 2.1.5 ok\r\n354 early\r\n", "data": b"354 go on\r\n250 2.0.0 taken\r\n",
    "ehlo": b"250-mx\r\n250 PIPELINING\r\n250 early\r\n", "greeting": b"220 mx\r\n250 early\r\n"}


@pytest.mark.parametrize("step", EARLY)
def test_replies_before_the_question_are_not_taken_for_answers(make_gateway, make_peer, step):
    server, attempt = one(make_gateway, make_peer, "deferred", **{step: EARLY[step]})
    assert attempt["reply"].startswith("450 4.5.0"), attempt["reply"]
    assert server.messages == []


# Refusals and closed connections at each step


STEPS = {"mail": ["EHLO", "MAIL", "RCPT", "RCPT"], "rcpt": ["EHLO", "MAIL", "RCPT", "RCPT"], "data": ["EHLO", "MAIL", "RCPT", "RCPT", "DATA"],
    "dot": ["EHLO", "MAIL", "RCPT", "RCPT", "DATA"]}
REFUSALS = {"450 4.2.0 later": "deferred", "451 later": "deferred", "421 4.3.2 bye": "deferred", "550 5.7.1 no": "bounced", "554 no": "bounced"}


@pytest.mark.parametrize("step", STEPS)
@pytest.mark.parametrize("reply", REFUSALS, ids=lambda reply: reply[:3])
def test_a_refusal_at_each_step(make_gateway, make_peer, step, reply):
    server = make_peer(**{step: reply})
    gateway = make_gateway(next_hop=server.address, delivery_tls="none", delivery=LATER)
    send(gateway, recipients=["bob@good.test", "carol@good.test"])
    record = gateway.tracked(REFUSALS[reply], sender="alice@sender.test")
    assert [a["reply"] for r in record["recipients"] for a in r["attempts"]] == [reply, reply]
    (verbs,) = verbs_of(server)
    assert verbs[:len(STEPS[step])] == STEPS[step]
    if reply[:3] != "421":
        assert verbs[len(STEPS[step]):len(STEPS[step]) + 1] == ["RSET"], "the connection stays good for other mail"


@pytest.mark.parametrize("step", ["greeting", "ehlo", *STEPS])
def test_a_connection_that_closes_at_each_step_is_tried_again(make_gateway, make_peer, step):
    good = {"greeting": "220 mx", "ehlo": None, "data": "354 go on"}.get(step, "250 2.0.0 ok")
    server = make_peer(**{step: [scripted.close, good]})
    gateway = make_gateway(next_hop=server.address, delivery_tls="none", delivery={"retry": ["100ms"]})
    send(gateway)
    record = gateway.tracked("delivered", sender="alice@sender.test")
    first, _ = record["recipients"][0]["attempts"]
    assert first["reply"].startswith("450 4.4.2"), first
    assert len(server.messages) == 1


def test_closed_in_the_middle_of_pipelined_replies(make_gateway, make_peer):
    server = make_peer(rcpt={"b@good.test": "550 5.1.1 nobody", "c@good.test": [scripted.close, "250 2.1.5 ok"]})
    gateway = make_gateway(next_hop=server.address, delivery={"retry": ["100ms"]})
    send(gateway, recipients=["a@good.test", "b@good.test", "c@good.test", "d@good.test"])
    harness.wait_for("the others are delivered", lambda: server.messages)
    assert server.messages[0].recipients == ["a@good.test", "c@good.test", "d@good.test"]
    asked = [line for s in server.sessions for line, _ in s.commands if "b@good.test" in line]
    assert len(asked) == 1, "whoever was refused is not asked again"


def test_2_21_lost_after_the_dot_may_be_a_duplicate_and_the_log_says_so(make_gateway, make_peer):
    server = make_peer(close_after_dot=1, rcpt={"no@good.test": "550 5.1.1 nobody"})
    gateway = make_gateway(next_hop=server.address, delivery={"retry": ["100ms"]})
    send(gateway, recipients=["bob@good.test", "no@good.test"])
    server.wait()
    harness.wait_for("both are settled", lambda: {r["state"] for r in gateway.track(sender="alice@sender.test")[0]["recipients"]}
        == {"delivered", "bounced"})
    states = {r["address"]: r for r in gateway.track(sender="alice@sender.test")[0]["recipients"]}
    first, second = states["bob@good.test"]["attempts"]
    assert first["reply"].startswith("450 4.4.2") and "which may have arrived" in first["reply"]
    assert second["reply"].startswith("250")
    assert len(states["no@good.test"]["attempts"]) == 1
    (line,) = [line for line in gateway.stderr().splitlines() if " delivery_uncertain " in line]
    assert " WARN " in line.upper() and "recipients=1" in line
    assert server.messages[0].recipients == ["bob@good.test"]


def reset(connection):
    """Hang up so that the other side hears a reset."""
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
    connection.close()


@pytest.mark.parametrize("quit", [scripted.close, scripted.silent, reset, "550 5.0.0 no", b"\0\0"], ids=["closed", "silent", "reset", "refused", "nonsense"])
def test_2_22_a_broken_quit_changes_nothing(make_gateway, make_peer, quit):
    server, attempt = one(make_gateway, make_peer, "delivered", quit=quit)
    assert attempt["reply"] == "250 2.0.0 taken" and len(server.messages) == 1


def test_a_peer_that_ends_an_idle_connection_with_421_gets_the_next_mail_over_a_new_one(make_gateway, make_peer):
    """The goodbye is read as the answer to MAIL; it says nothing about the mail."""
    both = threading.Event()
    server = make_peer(mail=["250 2.1.0 ok", "421 4.4.2 you were idle", "250 2.1.0 ok"], pause=lambda: both.wait(harness.PATIENCE))
    gateway = make_gateway(next_hop=server.address, delivery=LATER | {"connections": 1})
    send(gateway)
    send(gateway)  # it is there before the first one is through
    both.set()
    for record in gateway.tracked("delivered", count=2, sender="alice@sender.test"):
        assert len(record["recipients"][0]["attempts"]) == 1
    assert [s.verbs().count("MAIL") for s in server.sessions] == [2, 1]


# What must not leave


@pytest.mark.parametrize("column,value", [("recipient", "bob@good.test>\r\nDATA\r\nx <"), ("recipient", "bob\n@good.test"),
    ("sender", "a@sender.test>\r\nRSET\r\nMAIL FROM:<b@sender.test"), ("envid", "x\r\nRSET"), ("orcpt", "rfc822;x\r\nDATA"),
    ("recipient", "bob@good.test\0"), ("recipient", "eve@good.test\0.good.test"), ("sender", "eve@sender.test\0x")],
    ids=["recipient", "bare LF", "sender", "envid", "orcpt", "NUL at the end", "NUL in the recipient", "NUL in the sender"])
def test_2_32_a_tampered_queue_injects_nothing(make_gateway, make_peer, column, value):
    away = harness.free_address()
    gateway = make_gateway(harness.settings(next_hop=away, delivery={"retry": ["100ms"]}))
    send(gateway)
    gateway.tracked("deferred", sender="alice@sender.test")
    gateway.stop()
    with sqlite3.connect(gateway.folder / "state/queue.db") as db:
        table, field = {"recipient": ("recipient", "address"), "orcpt": ("recipient", "orcpt")}.get(column, ("message", column))
        assert db.execute(f"UPDATE {table} SET {field} = ?", (value,)).rowcount == 1
    db.close()
    server = make_peer(offers=("PIPELINING", "8BITMIME", "DSN"), address=("127.0.0.1", int(away.rsplit(":", 1)[1])))
    gateway.start()
    send(gateway, sender="good@sender.test")
    gateway.tracked("delivered", sender="good@sender.test")
    harness.wait_for("the tampered mail is refused", lambda: re.search(r" bounced mid=1 .*malformed| (content_unreadable|mail_corrupt) mid=1 ", gateway.stderr()))
    assert [m.sender for m in server.messages] == ["good@sender.test"]
    assert not any(line.startswith("MAIL") and "good@sender.test" not in line for s in server.sessions for line, _ in s.commands)


def test_2_32_a_host_name_with_a_line_end_is_refused_by_check(make_gateway):
    gateway = make_gateway(start=False, configuration=harness.settings() | {"hostname": "gw.good.test\r\nMAIL FROM:<x@y>"})
    done = gateway.command("check", "--json")
    assert done.returncode == 1 and "hostname" in json.dumps(done.stdout)
