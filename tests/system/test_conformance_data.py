"""Conformance 1b, 1c and 1f: content by DATA and BDAT, its size and lines, parameters, SMTPUTF8, DSN, Received."""

import pathlib
import re

import pytest

import harness
import peer as scripted
import smtp

MANY = {"errors": 1000, "commands": 100000, "connections_per_network": 1000, "rate": 100000}
MEBI = 1024 * 1024


@pytest.fixture
def client(gateway):
    """A greeted session in clear with the smallest useful gateway."""
    with smtp.Client(gateway.address()) as c:
        c.ehlo()
        yield c


@pytest.fixture
def session(make_gateway, sink, request):
    """session(limit=value, ...) -> a greeted session with a gateway that has these limits."""
    def start(**limits):
        start.gateway = make_gateway(next_hop=sink.address, limits=dict(MANY, **limits))
        client = smtp.Client(start.gateway.address())
        request.addfinalizer(client.close)
        client.ehlo()
        return client
    return start


def received(sink, count=1):
    """The content of the last of `count` messages at the sink, without the gateway's own Received field."""
    return harness.split_received(sink.content(sink.wait(count)[-1]))[1]


# Bare LF in TLS, stray bytes


def test_1_24_a_bare_lf_ends_no_command_in_tls(gateway):
    with smtp.Client(gateway.address()) as c:
        c.ehlo()
        c.starttls()
        c.send(b"EHLO client.sender.test\nMAIL FROM:<evil@sender.test>\r\n")
        c.expect_last(521, "5.5.2")


def test_1_23_the_521_comes_after_the_real_end(client, gateway):
    """The client sends all it has before it reads: the reply must not come before the end, nor be lost."""
    client.envelope("bare@sender.test")
    client.expect("DATA", 354)
    client.send(b"Subject: x\r\n\r\nbare\n" + b"x" * 70 + b"\r\n" * 50000)
    client.send(b"end\r\n.\r\n")
    client.expect_last(521, "5.5.2")
    assert not [r for r in gateway.track(sender="bare@sender.test") if r["recipients"][0]["state"] != "refused"]


def test_1_25_stray_bytes_that_came_by_bdat_do_not_leave(make_gateway, make_peer):
    """Each look-alike of an end mark, as a chunk: what is relayed has no CR and no LF but in CRLF."""
    peer = make_peer()
    gateway = make_gateway(next_hop=peer.address)
    body = b"".join(b"text%d" % n + mark + b"MAIL FROM:<evil@sender.test>" for n, mark in enumerate(
        [b"\n.\n", b"\n.\r\n", b"\r\n.\n", b"\r.\r", b"\r\n.\r", b"\r.\r\n", b"\r\n.\r\r\n", b"\r\n\0.\r\n", b"\r\n.\r\n"]))
    with smtp.Client(gateway.address()) as c:
        c.ehlo()
        c.envelope()
        reply = c.bdat(b"Subject: stray\r\n\r\n" + body + b"\r\nend\r\n", last=True)
        assert reply.code == 250 or 500 <= reply.code < 600, reply
        if reply.code != 250:
            return
        c.quit()
    (message,) = peer.wait()
    assert not re.search(rb"\r(?!\n)|(?<!\r)\n", message.raw), message.raw
    assert b"\r\n.\r\n" not in message.raw and not message.raw.startswith(b".\r\n")
    assert re.findall(rb"text\d", message.raw) == [b"text%d" % n for n in range(9)] and b"end\r\n" in message.raw
    assert len(peer.sessions) == 1 and not peer.sessions[0].said_in_clear("MAIL FROM:<EVIL")


# What stands between our field and the message

# first bytes -> must an empty line part them from our Received field?
BEGINNINGS = {
    "field": (b"Subject: first\r\n\r\n", False),
    "empty line": (b"\r\n", False),
    "space": (b" by evil.test; forged\r\nSubject: x\r\n\r\n", True),
    "tab": (b"\tby evil.test; forged\r\nSubject: x\r\n\r\n", True),
    "blanks": (b" \r\nSubject: x\r\n\r\n", True),
    "From ": (b"From evil@sender.test Sat Nov 21 10:00:00 2026\r\nSubject: x\r\n\r\n", True),
    "no field": (b"this is no field\r\nSubject: x\r\n\r\n", True),
    "dot": (b".\r\nSubject: x\r\n\r\n", True),
    "dots": (b"..x\r\n.\r\n\r\n", True),
}


@pytest.mark.parametrize("size", [100, 300_000], ids=["small", "large"])
@pytest.mark.parametrize("how", ["DATA", "BDAT", "DATA byte by byte", "BDAT octet by octet"])
@pytest.mark.parametrize("name", BEGINNINGS)
def test_1_27_the_message_cannot_merge_with_our_field(beginnings, name, how, size):
    """As the next hop sees it, on the wire: our field, perhaps an empty line, the message."""
    gateway, peer = beginnings
    first, parted = BEGINNINGS[name]
    rest = b"0123456789 " * (size // 13) + b"\r\n.end\r\n"
    count = len(peer.messages)
    with smtp.Client(gateway.address()) as c:
        c.ehlo()
        c.envelope()
        if how.startswith("DATA"):
            c.expect("DATA", 354)
            stuffed = re.sub(rb"(?m)^\.", b"..", first + rest)
            for n in range(len(first) if how != "DATA" else 0):
                c.send(stuffed[n:n + 1])
            c.send(stuffed[len(first) if how != "DATA" else 0:] + b".\r\n")
            reply = c.read()
        else:
            for n in range(len(first) if how != "BDAT" else 0):
                assert c.bdat(first[n:n + 1]).code == 250
            reply = c.bdat(rest if how != "BDAT" else first + rest, last=True)
        assert reply.code == 250, reply
        c.quit()
    message = peer.wait(count + 1)[-1]
    field, behind = harness.split_received(message.content)
    assert "evil.test" not in field and field.endswith("+0000"), field
    assert behind == (b"\r\n" if parted else b"") + first + rest
    assert not re.search(rb"(?m)^\.(?!\.)", message.raw), "each dot at the beginning of a line is stuffed"


@pytest.fixture(scope="module")
def beginnings(pki):
    """One gateway and its next hop for all cases."""
    with scripted.Peer(pki) as peer, harness.Gateway(pki, harness.settings(next_hop=peer.address, limits=MANY)) as gateway:
        yield gateway, peer


# Lines


@pytest.mark.parametrize("how", ["DATA", "BDAT"])
def test_1_29_lines_of_any_length_pass_unchanged(client, sink, how):
    content = harness.message("lines", "".join("y" * n + "\r\n" for n in (997, 998, 999, 2047, 2048, 2049, 100_000)))
    client.envelope()
    reply = client.data(content) if how == "DATA" else client.bdat(content, last=True)
    assert reply.code == 250, reply
    assert received(sink) == content


@pytest.mark.parametrize("how", ["DATA", "BDAT"])
def test_1_29_limit_of_lines_is_a_setting(session, sink, how):
    c = session(line=998)
    send = c.data if how == "DATA" else lambda content: c.bdat(content, last=True)
    c.envelope()
    reply = send(harness.message("long", "z" * 999 + "\r\n"))
    assert (reply.code, reply.status) == (554, "5.6.0"), reply
    c.expect("RCPT TO:<bob@good.test>", 503, "5.5.1")
    fits = harness.message("fits", "z" * 998 + "\r\nend\r\n")
    c.envelope()
    assert send(fits).code == 250
    assert received(sink) == fits and len(sink.messages) == 1


def test_1_29_a_long_line_in_the_header_counts_too(session):
    c = session(line=998)
    c.envelope()
    reply = c.data(b"Subject: " + b"z" * 990 + b"\r\n\r\nbody\r\n")
    assert (reply.code, reply.status) == (554, "5.6.0"), reply


TRACE = b"Received: from a by b; Sat, 21 Nov 2026 10:00:00 +0000\r\n"


@pytest.mark.parametrize("separator", [b"X\r\n", b"not a field\r\n", b": empty name\r\n", b"B\xc3\xa4d field: x\r\n"],
    ids=["one letter", "words", "empty name", "8 bit"])
def test_1_30_the_header_ends_at_the_malformed_line(client, sink, separator):
    """60 Received fields before it and 60 lines of the body behind it are not 120 fields; and nothing changes."""
    content = TRACE * 60 + separator + TRACE * 60 + b"\r\nbody\r\n"
    client.envelope()
    reply = client.data(content)
    if separator.startswith((b":", b"B")):
        assert reply.code in (250, 554), reply  # whether this is a malformed field or no field is open
        if reply.code == 554:
            return
    assert reply.code == 250, reply
    assert received(sink) == content


def test_the_header_has_a_limit(session, sink):
    c = session(header="8KiB")
    c.envelope()
    reply = c.data(b"X-Many: y\r\n" * 1000 + b"\r\nbody\r\n")
    assert reply.code == 552 or reply.code == 554, reply
    c.expect("RCPT TO:<bob@good.test>", 503, "5.5.1")
    large_body = b"Subject: small header\r\n\r\n" + b"X-Many: y\r\n" * 5000
    c.envelope()
    assert c.data(large_body).code == 250
    assert received(sink) == large_body


# Size


@pytest.mark.parametrize("how", ["DATA", "BDAT"])
@pytest.mark.parametrize("body", [b"From " + b"x" * 70_000 + b"\r\n", b"From x\r\n" * 10_000], ids=["one long line", "many"])
def test_1_32_from_lines_count_against_the_size(session, how, body):
    c = session(message_size="64KiB")
    c.envelope()
    reply = c.data(body) if how == "DATA" else c.bdat(body, last=True)
    assert (reply.code, reply.status) == (552, "5.3.4"), reply
    c.expect("NOOP", 250)


def test_1_31_the_data_is_read_to_its_end_before_552(session):
    """The reply comes after the dot, whatever it takes; the session stays in step."""
    c = session(message_size="64KiB")
    c.envelope()
    c.expect("DATA", 354)
    for _ in range(64):
        c.send((b"x" * 1022 + b"\r\n") * 64)
    c.send(b".\r\nNOOP\r\n")
    reply = c.read()
    assert (reply.code, reply.status) == (552, "5.3.4"), reply
    assert c.read().code == 250
    c.quit()


# BDAT


def test_1_33_chunks_are_counted_and_dots_are_data(client, sink):
    head = harness.message("dots")[:-2]
    client.envelope()
    for chunk in (head, b".\r\n.\r", b"\n..\r\n", b".\r\n"):
        reply = client.bdat(chunk)
        assert reply.code == 250 and reply.status[0] == "2", reply
    assert client.bdat(last=True).code == 250
    assert received(sink).endswith(head + b".\r\n.\r\n..\r\n.\r\n")
    client.expect("RCPT TO:<bob@good.test>", 503, "5.5.1")


def test_1_33_an_empty_chunk_that_is_not_the_last(client, gateway):
    client.envelope("empty@sender.test")
    reply = client.bdat()
    assert (reply.code, reply.status) == (551, "5.7.1"), reply
    client.expect("DATA", 503, "5.5.1")
    client.expect("RSET", 250)
    assert not [r for r in gateway.track(sender="empty@sender.test") if r["recipients"][0]["state"] != "refused"]


def test_1_33_a_message_that_is_one_empty_last_chunk(client, sink):
    client.envelope()
    assert client.bdat(last=True).code == 250
    assert harness.split_received(sink.content(sink.wait()[0]))[1] in (b"", b"\r\n")


def test_1_33_case_and_spaces_of_the_command(client, sink):
    content = harness.message("case")
    client.envelope()
    client.send(b"bdat %d last\r\n%s" % (len(content), content))
    assert client.read().code == 250
    assert received(sink) == content


@pytest.mark.parametrize("argument", ["-1", "1 FOO", "99999999999999999999", "", "x", "1 LAST x", "+1", "0x5", "5LAST",
    "18446744073709551616", "1.5", "LAST"])
@pytest.mark.parametrize("envelope", [True, False], ids=["in a transaction", "without MAIL"])
def test_1_34_a_malformed_bdat_closes(gateway, argument, envelope):
    with smtp.Client(gateway.address()) as c:
        c.ehlo()
        if envelope:
            c.envelope("evil@sender.test")
        c.send(f"BDAT{' ' if argument else ''}{argument}\r\nRSET\r\nMAIL FROM:<evil@sender.test>\r\n")
        replies = c.last_words()
        assert len(replies) == 1 and (replies[0].code, replies[0].status) in ((521, "5.5.4"), (501, "5.5.4")), replies


def test_1_35_octets_of_a_refused_bdat_are_consumed(client, sink):
    trap = b"NOOP\r\nQUIT\r\n.\r\n"
    client.expect("BDAT 0 LAST", 503, "5.5.1")
    reply = client.bdat(trap)
    assert (reply.code, reply.status) == (503, "5.5.1"), reply
    client.expect("MAIL FROM:<a@sender.test>", 250)
    reply = client.bdat(trap, last=True)
    assert (reply.code, reply.status) == (503, "5.5.1"), f"no RCPT yet: {reply}"
    client.expect("RSET", 250)
    client.expect("MAIL FROM:<a@sender.test>", 250)
    client.expect("RCPT TO:<x@elsewhere.test>", 550)
    reply = client.bdat(trap, last=True)
    assert (reply.code, reply.status) == (554, "5.5.1"), f"all RCPT were refused: {reply}"
    client.expect("RSET", 250)
    client.mail("a@sender.test", "bob@good.test", harness.message())
    client.quit()
    assert len(sink.wait()) == 1


def test_1_35_before_ehlo(gateway):
    with smtp.Client(gateway.address()) as c:
        reply = c.bdat(b"NOOP\r\n", last=True)
        assert (reply.code, reply.status) == (503, "5.5.1"), reply
        c.ehlo()
        c.quit()


def test_1_35_consuming_has_an_end(session):
    """Ten gigabytes announced without MAIL: they are not all read."""
    c = session(message_size="64KiB")
    c.send(b"BDAT 10000000000\r\n")
    sent = 0
    try:
        while sent < 512 * MEBI:
            c.send(b"x" * MEBI)
            sent += MEBI
    except OSError:
        pass
    assert sent < 512 * MEBI, "the server still reads what it refused"
    assert b"250" not in c.rest()


@pytest.mark.parametrize("envelope", [True, False], ids=["in a transaction", "without MAIL"])
def test_1_35_consuming_has_a_deadline(session, envelope):
    c = session(idle_time="1s")
    if envelope:
        c.envelope()
    c.send(b"BDAT 100\r\n" + b"x" * 10)
    replies = c.last_words()
    assert [r.code for r in replies] in ([421], [503, 421], [503], []), replies


@pytest.mark.parametrize("last", [False, True], ids=["more to come", "last"])
def test_1_36_a_chunk_over_the_limit(session, sink, last):
    c = session(message_size="64KiB")
    c.envelope()
    assert c.bdat(b"Subject: x\r\n\r\n" + b"x" * 60_000).code == 250
    reply = c.bdat(b"NOOP\r\n" * 1500, last)
    assert (reply.code, reply.status) == (552, "5.3.4"), reply
    if not last:
        for n in range(3):
            reply = c.bdat(b"QUIT\r\nNOOP\r\n", last=n == 2)
            assert reply.code >= 500, f"chunk {n} behind the refused one: {reply}"
    c.mail("next@sender.test", "bob@good.test", harness.message())
    c.quit()
    assert [line["sender"] for line in sink.wait()] == ["next@sender.test"]


def test_1_36_a_large_chunk_is_not_held_in_memory(session, sink, monkeypatch):
    options = harness.environment()["ASAN_OPTIONS"]
    monkeypatch.setenv("ASAN_OPTIONS", options + ":quarantine_size_mb=1:thread_local_quarantine_size_kb=64")
    c = session()
    front = session.gateway.roles()["front"]["pid"]

    def anonymous():
        text = pathlib.Path(f"/proc/{front}/status").read_text()
        return int(text.split("RssAnon:")[1].split()[0])

    size = 48 * MEBI
    c.envelope()
    c.bdat(b"Subject: large\r\n\r\n")
    before = anonymous()
    c.send(b"BDAT %d LAST\r\n" % size)
    line = b"x" * 1022 + b"\r\n"
    for n in range(size // MEBI):
        c.send(line * 1024 if n + 1 < size // MEBI else (line * 1024)[:-1])
    during = anonymous()
    c.send(b"\n")
    assert c.read().code == 250
    assert during - before < 10 * 1024, f"48 MiB in one chunk took {during - before} KiB"
    assert sink.wait(patience=90)[0]["size"] > size


def test_1_37_a_line_end_split_over_two_chunks(client, sink):
    client.envelope()
    for chunk in (b"Subject: split\r", b"\n\r", b"\nbody\r", b"\n.", b"\r\n", b".\r\nmore\r"):
        assert client.bdat(chunk).code == 250
    assert client.bdat(b"\nend", last=True).code == 250
    assert received(sink) == b"Subject: split\r\n\r\nbody\r\n.\r\n.\r\nmore\r\nend\r\n", "and the last line end is supplied"


def test_1_37_no_chunk_ends_at_a_line(client, sink):
    content = harness.message("by chunks", "".join(f"line {n}\r\n.\r\n" for n in range(200)))
    client.envelope()
    for at in range(0, len(content), 7):
        assert client.bdat(content[at:at + 7]).code == 250
    assert client.bdat(last=True).code == 250
    assert received(sink) == content


# BODY and 8 bits


def test_1_38_binarymime_is_not_offered(client):
    assert "BINARYMIME" not in client.ehlo().offers
    reply = client.do("MAIL FROM:<a@sender.test> BODY=BINARYMIME")
    assert (reply.code, reply.status) in ((501, "5.5.4"), (555, "5.5.4")), reply
    client.expect("RCPT TO:<bob@good.test>", 503, "5.5.1")


@pytest.mark.parametrize("value,code", [("7BIT", 250), ("8BITMIME", 250), ("8bitmime", 250), ("9BIT", 501), ("", 501)])
def test_1_38_values_of_body(client, value, code):
    client.expect(f"MAIL FROM:<a@sender.test> BODY={value}", code)


def test_1_38_body_without_a_value(client):
    client.expect("MAIL FROM:<a@sender.test> BODY", 501, "5.5.4")


@pytest.mark.parametrize("parameters", ["", "BODY=7BIT", "BODY=8BITMIME"])
@pytest.mark.parametrize("how", ["DATA", "BDAT"])
def test_1_39_the_eighth_bit_stays(client, sink, parameters, how):
    content = harness.message("eight") + bytes(range(1, 10)) + b"\x0b\x0c" + bytes(range(14, 256)) + b"\r\n"
    client.envelope(parameters=parameters)
    reply = client.data(content) if how == "DATA" else client.bdat(content, last=True)
    assert reply.code == 250, reply
    assert received(sink) == content


# SMTPUTF8


def test_1_40_smtputf8_comes_with_8bitmime(gateway):
    with smtp.Client(gateway.address()) as c:
        offers = c.ehlo().offers
        assert {"SMTPUTF8", "8BITMIME"} <= set(offers) and offers["SMTPUTF8"] == ""
        c.starttls()
        assert {"SMTPUTF8", "8BITMIME"} <= set(c.ehlo().offers)
        c.quit()


def test_1_40_a_utf8_mailbox_needs_the_parameter(client):
    client.expect("MAIL FROM:<jürgen@sender.test>", 553, "5.6.7")
    client.expect("MAIL FROM:<a@bücher.test>", 553, "5.6.7")
    client.expect("MAIL FROM:<a@sender.test>", 250)
    client.expect("RCPT TO:<jürgen@good.test>", 553, "5.6.7")
    client.expect("RCPT TO:<bob@good.test>", 250)
    client.expect("RSET", 250)
    client.expect("MAIL FROM:<jürgen@sender.test> SMTPUTF8", 250)
    client.expect("RCPT TO:<用户@good.test>", 250)
    client.expect("RCPT TO:<\"j ü\"@good.test>", 250)


def test_1_40_smtputf8_has_no_value(client):
    client.expect("MAIL FROM:<a@sender.test> SMTPUTF8=yes", 501, "5.5.4")


MALFORMED = [b"\xff", b"\xc3", b"\xc3(", b"\xc0\xaf", b"\xe0\x80\xaf", b"\xed\xa0\x80", b"\xf4\x90\x80\x80", b"\x80", b"\xfc\x80\x80\x80\x80\xaf"]


@pytest.mark.parametrize("bad", MALFORMED, ids=lambda b: b.hex())
@pytest.mark.parametrize("command", [b"MAIL FROM:<%s@sender.test> SMTPUTF8", b"VRFY %s", b"NOOP %s", b"EHLO %s.test", b"FOO %s"],
    ids=lambda c: c.split(b" ")[0].decode())
def test_1_40_malformed_utf8_in_any_command(client, command, bad):
    reply = client.do(command % bad)
    assert (reply.code, reply.status) == (500, "5.5.2"), reply
    client.expect("NOOP", 250)


def test_1_40_malformed_utf8_in_a_recipient(client):
    client.expect("MAIL FROM:<a@sender.test> SMTPUTF8", 250)
    reply = client.do(b"RCPT TO:<\xc3(@good.test>")
    assert (reply.code, reply.status) == (500, "5.5.2"), reply
    client.expect("RCPT TO:<bob@good.test>", 250)


@pytest.mark.parametrize("tls", [False, True], ids=["clear", "TLS"])
def test_1_41_1_64_a_message_in_smtputf8(gateway, sink, tls):
    content = harness.message("héllo").replace(b"<bob@", "<jürgen@".encode())
    with smtp.Client(gateway.address()) as c:
        c.ehlo()
        if tls:
            c.starttls()
            c.ehlo()
        c.envelope("jürgen@sender.test", "用户@good.test", "SMTPUTF8 BODY=8BITMIME")
        assert c.data(content).code == 250
        c.quit()
    gateway.tracked("delivered", sender="jürgen@sender.test")
    (line,) = sink.wait()
    assert (line["sender"], line["recipients"]) == ("jürgen@sender.test", ["用户@good.test"])
    field, rest = harness.split_received(sink.content(line))
    assert re.search(rf"\bwith UTF8SMTP{'S' if tls else ''}\b", field), field
    assert rest == content


def test_1_41_the_message_survives_a_restart(make_gateway, make_sink):
    gateway = make_gateway(next_hop=harness.free_address())
    with smtp.Client(gateway.address()) as c:
        c.ehlo()
        c.envelope("jürgen@sender.test", "jürgen@good.test", "SMTPUTF8")
        assert c.data(harness.message("später")).code == 250
        c.quit()
    gateway.stop()
    sink = make_sink()
    gateway.configure(harness.settings(next_hop=sink.address))
    gateway.start()
    gateway.tracked("delivered", recipient="jürgen@good.test")
    assert sink.wait()[0]["recipients"] == ["jürgen@good.test"]


def test_1_41_it_bounces_when_the_next_hop_takes_none(make_gateway, make_peer):
    peer = make_peer()
    gateway = make_gateway(next_hop=peer.address)
    with smtp.Client(gateway.address()) as c:
        c.ehlo()
        c.envelope("a@sender.test", "jürgen@good.test", "SMTPUTF8")
        assert c.data(harness.message()).code == 250
        c.quit()
    record = gateway.tracked("bounced", recipient="jürgen@good.test")
    assert record["recipients"][0]["attempts"][0]["reply"].startswith("553 5.6.7 ")
    assert not any(session.verbs().count("MAIL") for session in peer.sessions)


def test_1_41_ascii_with_the_parameter_is_delivered(client, sink):
    client.envelope(parameters="SMTPUTF8")
    assert client.data(harness.message()).code == 250
    assert received(sink) == harness.message()


# Addresses and parameters


@pytest.mark.parametrize("path", ['<"a\x00b"@sender.test>', "<a@sender.test\x00>", '<"a\rb"@sender.test>', "<a@" + "b" * 64 + ".test>",
    "<" + "a" * 65 + "@sender.test>", "<a@[127.0.0.256]>", "<a@[IPv6:zz]>", "<a@[1.2.3>", "<a@-x.test>"])
def test_1_42_more_bad_senders(client, path):
    reply = client.do(f"MAIL FROM:{path}")
    assert (reply.code, reply.status) in ((501, "5.1.7"), (501, "5.5.4"), (521, "5.5.2")), reply


@pytest.mark.parametrize("path", ['<""@good.test>', '<"a\x00b"@good.test>', "<bob@good.test\x00>", "<@a,@b:>", "<@a,@b>"])
def test_1_42_more_bad_recipients(client, path):
    client.expect("MAIL FROM:<a@sender.test>", 250)
    reply = client.do(f"RCPT TO:{path}")
    assert (reply.code, reply.status) in ((501, "5.1.3"), (501, "5.5.4")), reply


@pytest.mark.parametrize("sender", ['"quoted local part"@sender.test', '"with \\" quote"@sender.test', '"a@b"@sender.test', "a+b=c@sender.test",
    "a@[127.0.0.1]", "a@[IPv6:2001:db8::1]", "a" * 64 + "@sender.test"])
def test_1_42_good_addresses_of_every_form(client, sink, sender):
    client.mail(sender, '"b o b"@good.test', harness.message())
    (line,) = sink.wait()
    assert (line["sender"], line["recipients"]) == (sender, ['"b o b"@good.test'])


@pytest.mark.parametrize("parameter", ["RET=SOME", "RET=", "RET", "ENVID=+00", "ENVID=+zz", "ENVID=+4", "ENVID=a=b", "ENVID=",
    "ENVID=+0d+0a", "ENVID=" + "x" * 101])
def test_1_43_bad_dsn_parameters_of_mail(client, parameter):
    client.expect(f"MAIL FROM:<a@sender.test> {parameter}", 501, "5.5.4")
    client.expect("RCPT TO:<bob@good.test>", 503, "5.5.1")


@pytest.mark.parametrize("parameter", ["NOTIFY=NEVER,SUCCESS", "NOTIFY=SUCCESS,NEVER", "NOTIFY=FOO", "NOTIFY=", "NOTIFY", "NOTIFY=SUCCESS,",
    "NOTIFY=,SUCCESS", "ORCPT=rfc822", "ORCPT=;bob", "ORCPT=rfc822;a+zz", "ORCPT=rfc822;a+00b", "ORCPT=rfc822;a=b", "ORCPT=",
    "ORCPT=rfc822;" + "x" * 600])
def test_1_43_bad_dsn_parameters_of_rcpt(client, parameter):
    client.expect("MAIL FROM:<a@sender.test>", 250)
    client.expect(f"RCPT TO:<bob@good.test> {parameter}", 501, "5.5.4")
    client.expect("RCPT TO:<bob@good.test>", 250)


@pytest.mark.parametrize("mail,rcpt", [("RET=FULL ENVID=QQ314159", "NOTIFY=SUCCESS,FAILURE ORCPT=rfc822;Bob+40x"),
    ("ret=hdrs envid=a+2Bb+3Dc", "notify=never orcpt=RFC822;bob@good.test"), ("", "NOTIFY=DELAY"),
    ("SMTPUTF8", "ORCPT=utf-8;j\\x{FC}rgen@good.test"), ("SMTPUTF8", "ORCPT=utf-8;jürgen@good.test"),
    ("SMTPUTF8", "ORCPT=rfc822;j+C3+BCrgen@good.test")])  # Postfix 3.7 writes the last one
def test_1_43_good_dsn_parameters(client, sink, mail, rcpt):
    assert "DSN" in client.ehlo().offers
    client.expect(f"MAIL FROM:<a@sender.test> {mail}".rstrip(), 250)
    client.expect(f"RCPT TO:<bob@good.test> {rcpt}", 250)
    assert client.data(harness.message()).code == 250
    assert sink.wait()[0]["recipients"] == ["bob@good.test"]


@pytest.mark.parametrize("offers,mail,rcpt", [(["DSN"], " RET=HDRS ENVID=QQ+2B4", " NOTIFY=SUCCESS,FAILURE ORCPT=rfc822;Bob+2B40x"),
    ([], "", "")], ids=["DSN", "no DSN"])
def test_1_43_parameters_reach_a_next_hop_that_offers_dsn(make_gateway, make_peer, offers, mail, rcpt):
    peer = make_peer(offers=offers)
    gateway = make_gateway(next_hop=peer.address)
    with smtp.Client(gateway.address()) as c:
        c.ehlo()
        c.expect("MAIL FROM:<a@sender.test> RET=HDRS ENVID=QQ+2B4", 250)
        c.expect("RCPT TO:<bob@good.test> NOTIFY=SUCCESS,FAILURE ORCPT=rfc822;Bob+2B40x", 250)
        assert c.data(harness.message()).code == 250
        c.quit()
    peer.wait()
    said = [line for session in peer.sessions for line, _ in session.commands]
    (sender,) = [line for line in said if line.startswith("MAIL")]
    assert re.sub(r" SIZE=\d+", "", sender) == f"MAIL FROM:<a@sender.test>{mail}", sender
    assert f"RCPT TO:<bob@good.test>{rcpt}" in said, said


def test_1_43_no_report_to_who_wants_none(make_gateway, make_peer):
    """NOTIFY=NEVER: the bounced mail makes no report."""
    peer = make_peer(rcpt={"silent@good.test": "550 5.1.1 no", "loud@good.test": "550 5.1.1 no"})
    gateway = make_gateway(harness.settings(next_hop=peer.address, routes=[{"domain": "default", "next_hop": peer.address}]))
    with smtp.Client(gateway.address()) as c:
        c.ehlo()
        for recipient, parameters in (("silent", " NOTIFY=NEVER"), ("loud", "")):
            c.expect(f"MAIL FROM:<{recipient}@sender.test>", 250)
            c.expect(f"RCPT TO:<{recipient}@good.test>{parameters}", 250)
            assert c.data(harness.message()).code == 250
        c.quit()
    gateway.tracked("bounced", recipient="silent@good.test")
    gateway.tracked("bounced", recipient="loud@good.test")
    reports = peer.wait()
    assert [m.recipients for m in reports] == [["loud@sender.test"]]
    assert gateway.track(recipient="silent@sender.test") == []


@pytest.mark.parametrize("parameters", ["SIZE=1 SIZE=1", "BODY=7BIT BODY=8BITMIME", "SMTPUTF8 SMTPUTF8", "RET=FULL RET=FULL",
    "ENVID=a ENVID=b", "size=1 SIZE=2"])
def test_1_44_duplicate_parameters_of_mail(client, parameters):
    client.expect(f"MAIL FROM:<a@sender.test> {parameters}", 501, "5.5.4")


@pytest.mark.parametrize("parameters", ["NOTIFY=NEVER NOTIFY=NEVER", "ORCPT=rfc822;a ORCPT=rfc822;a"])
def test_1_44_duplicate_parameters_of_rcpt(client, parameters):
    client.expect("MAIL FROM:<a@sender.test>", 250)
    client.expect(f"RCPT TO:<bob@good.test> {parameters}", 501, "5.5.4")


@pytest.mark.parametrize("command", ["MAIL FROM:<a@sender.test> NOTIFY=NEVER", "MAIL FROM:<a@sender.test> REQUIRETLS",
    "MAIL FROM:<a@sender.test> HOLDFOR=100", "RCPT TO:<bob@good.test> SIZE=1", "RCPT TO:<bob@good.test> SMTPUTF8"])
def test_1_44_parameters_that_are_not_offered_or_belong_elsewhere(client, command):
    if command.startswith("RCPT"):
        client.expect("MAIL FROM:<a@sender.test>", 250)
    client.expect(command, 555, "5.5.4")


# Received


@pytest.mark.parametrize("how", ["DATA", "BDAT"])
def test_1_66_more_than_100_received_fields(make_gateway, make_peer, how):
    peer = make_peer()
    gateway = make_gateway(next_hop=peer.address)
    with smtp.Client(gateway.address()) as c:
        c.ehlo()

        def send(count):
            content = TRACE * count + b"Subject: loop\r\n\r\nbody\r\n"
            c.envelope()
            return content, c.data(content) if how == "DATA" else c.bdat(content, last=True)

        _, reply = send(101)
        assert (reply.code, reply.status) == (554, "5.4.6"), reply
        c.expect("RCPT TO:<bob@good.test>", 503, "5.5.1")
        content, reply = send(100)
        assert reply.code == 250, reply
        c.quit()
    (message,) = peer.wait()
    assert message.content.endswith(content)


def test_1_66_received_lines_in_the_body_do_not_count(client, sink):
    content = b"Subject: quoted\r\n\r\n" + TRACE * 300
    client.mail("a@sender.test", "bob@good.test", content)
    assert received(sink) == content


def test_1_66_any_case_and_folded(client):
    client.envelope()
    reply = client.data(b"RECEIVED: from a\r\n by b; Sat, 21 Nov 2026 10:00:00 +0000\r\nreceived : x\r\n" * 60 + b"\r\nbody\r\n")
    assert (reply.code, reply.status) == (554, "5.4.6"), reply


@pytest.mark.parametrize("greeting,tls,clause", [("EHLO", False, "ESMTP"), ("EHLO", True, "ESMTPS"), ("HELO", False, "SMTP"),
    ("HELO", True, "SMTP")])
def test_1_64_the_clause_names_the_protocol(gateway, sink, greeting, tls, clause):
    with smtp.Client(gateway.address()) as c:
        c.ehlo()
        if tls:
            c.starttls()
        c.expect(f"{greeting} client.sender.test", 250)
        c.mail("a@sender.test", "bob@good.test", harness.message())
        c.quit()
    field, _ = harness.split_received(sink.content(sink.wait()[0]))
    assert re.search(rf"\bwith {clause} ", field), field


def test_1_68_a_report_to_several_recipients(client, sink):
    client.mail("", ["bob@good.test", "carol@good.test"], harness.message())
    assert sorted(r for line in sink.wait() for r in line["recipients"]) == ["bob@good.test", "carol@good.test"]


def test_1_69_a_whole_transaction_has_a_deadline(session):
    """Bytes that trickle in the data do not keep a session alive for ever."""
    c = session(session_time="2s")
    c.envelope()
    c.expect("DATA", 354)

    def is_over():
        try:
            c.send(b"x\r\n")
            c.socket.settimeout(0.05)
            c.buffer += c.socket.recv(4096)
        except TimeoutError:
            return False
        except OSError:
            return True
        return c.buffer != b""

    harness.wait_for("the session ends", is_over)
    c.socket.settimeout(harness.PATIENCE)
    assert b"250" not in c.rest()
