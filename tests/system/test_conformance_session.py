"""Conformance 1a: order of commands against a model, limits of a session, pipelining, what is no SMTP at all."""

import collections
import os
import pathlib
import random
import signal
import socket

import pytest

import harness
import smtp

MANY = {"errors": 1000, "commands": 100000, "connections_per_network": 1000, "rate": 100000}
SMALL = 64 * 1024
TOO_LARGE = b"Subject: too large\r\n\r\n" + b"x" * 70 * 1024 + b"\r\n"


@pytest.fixture
def small(make_gateway, sink):
    """A gateway that takes messages of 64 KiB and is patient with errors."""
    return make_gateway(next_hop=sink.address, limits=dict(MANY, message_size="64KiB"))


@pytest.fixture
def client(gateway):
    """A greeted session in clear with the smallest useful gateway."""
    with smtp.Client(gateway.address()) as c:
        c.ehlo()
        yield c


# What a refused message or command leaves behind


def expect_nothing_is_open(client):
    client.expect("RCPT TO:<bob@good.test>", 503, "5.5.1")
    client.expect("DATA", 503, "5.5.1")


def test_1_04_nothing_is_left_after_a_message_was_refused_at_its_end(small, sink):
    with smtp.Client(small.address()) as c:
        c.ehlo()
        c.envelope("first@sender.test")
        reply = c.data(TOO_LARGE)
        assert (reply.code, reply.status) == (552, "5.3.4"), reply
        expect_nothing_is_open(c)
        c.mail("second@sender.test", "carol@good.test", harness.message())
        c.quit()
    (line,) = sink.wait()
    assert (line["sender"], line["recipients"]) == ("second@sender.test", ["carol@good.test"])


@pytest.mark.parametrize("last", [False, True], ids=["more to come", "last"])
def test_1_05_nothing_is_left_after_a_failed_bdat(small, sink, last):
    with smtp.Client(small.address()) as c:
        c.ehlo()
        c.envelope("first@sender.test")
        reply = c.bdat(TOO_LARGE, last)
        assert (reply.code, reply.status) == (552, "5.3.4"), reply
        c.expect("DATA", 503, "5.5.1")
        c.expect("RCPT TO:<bob@good.test>", 503, "5.5.1")
        c.expect("RSET", 250)
        expect_nothing_is_open(c)
        c.mail("second@sender.test", "carol@good.test", harness.message())
        c.quit()
    (line,) = sink.wait()
    assert (line["sender"], line["recipients"]) == ("second@sender.test", ["carol@good.test"])


def test_1_06_a_refused_vrfy_changes_nothing(client, sink):
    client.expect("MAIL FROM:<a@sender.test>", 250)
    client.expect("RCPT TO:<bob@good.test>", 250)
    reply = client.do("VRFY ü@good.test")
    assert reply.code == 252 or (reply.code, reply.status) == (553, "5.6.7"), reply
    client.expect("RCPT TO:<carol@good.test>", 250)
    assert client.data(harness.message()).code == 250
    (line,) = sink.wait()
    assert (line["sender"], line["recipients"]) == ("a@sender.test", ["bob@good.test", "carol@good.test"])


def test_1_08_data_after_bdat(client, sink):
    content = harness.message("chunks")
    client.envelope()
    assert client.bdat(content[:20]).code == 250
    client.expect("DATA", 503, "5.5.1")
    reply = client.bdat(content[20:], last=True)
    assert reply.code == 250, f"the refused DATA changed nothing: {reply}"
    assert sink.content(sink.wait()[0]).endswith(content)


# The model: what RFC 5321, 3030 and 3207 say about each command in each state


class Model:
    """Which replies a session may give. `state` is one of

    start   no greeting yet
    idle    greeted
    mail    MAIL was accepted; self.recipients, self.refused say more
    chunks  in the middle of BDAT
    broken  a chunk was refused: only RSET, a greeting or the last chunk lead out (MAIL may, too)
    """

    def __init__(self):
        self.state, self.secured = "start", False
        self.accepted = []
        self._reset("start")

    def _reset(self, state):
        self.state, self.sender, self.recipients, self.refused = state, None, [], None

    def _end(self):
        """What RSET does."""
        self._reset("start" if self.state == "start" else "idle")

    def _without_recipient(self):
        """None was given, all were refused, or those that were given were no addresses, which may count as either."""
        return {None: ["503 5.5.1"], "attempted": ["503 5.5.1", "554 5.5.1"], "refused": ["554 5.5.1"]}[self.refused]

    def allowed(self, command):
        """The replies that are right for it, as "code status"; then what happened is told by went()."""
        kind, state = command.kind, self.state
        wrong = ["503 5.5.1"]
        if kind in ("EHLO", "HELO"):
            return ["250 None"]
        if kind in ("NOOP", "RSET"):
            return ["250 2.0.0"]
        if kind == "VRFY":
            return ["252 2.5.0", "502 5.5.1"]
        if kind == "VRFY UTF-8":
            return ["252 2.5.0", "553 5.6.7", "502 5.5.1"]
        if kind == "unknown":
            return ["500 5.5.2"]
        if kind == "STARTTLS with argument":
            return wrong if self.secured and state != "start" else ["501 5.5.4"] + wrong * self.secured
        if kind == "STARTTLS":
            return wrong if self.secured else ["220 2.0.0"]
        if kind.startswith("MAIL"):
            if state in ("start", "mail", "chunks"):
                return wrong + (["501 5.1.7"] if kind == "MAIL bad" else []) * (state != "start")
            good = {"MAIL": "250 2.1.0", "MAIL bad": "501 5.1.7", "MAIL too large": "552 5.3.4"}[kind]
            return [good] + wrong * (state == "broken")
        if kind.startswith("RCPT"):
            if state != "mail":
                return wrong + ["501 5.1.3"] * (kind == "RCPT bad")
            return [{"RCPT": "250 2.1.5", "RCPT elsewhere": "550 5.7.1", "RCPT bad": "501 5.1.3"}[kind]]
        if kind.startswith("DATA"):
            if state != "mail" or not self.recipients:
                return self._without_recipient() if state == "mail" else wrong
            return ["250 2.0.0"] if kind == "DATA" else ["552 5.3.4"]
        if kind.startswith("BDAT"):
            if state in ("start", "idle"):
                return wrong + ["551 5.7.1"] * (kind == "BDAT 0")
            if state == "broken":
                return ["any refusal"]
            if state == "mail" and not self.recipients:
                return self._without_recipient() + ["551 5.7.1"] * (kind == "BDAT 0")
            return {"BDAT 0": ["551 5.7.1"], "BDAT": ["250 2.0.0"], "BDAT LAST": ["250 2.0.0"], "BDAT 0 LAST": ["250 2.0.0"],
                "BDAT too large": ["552 5.3.4"], "BDAT too large LAST": ["552 5.3.4"]}[kind]
        raise AssertionError(kind)

    def went(self, command, reply):
        """The reply was one of those allowed: move on."""
        kind, good = command.kind, reply.code < 300
        if kind in ("EHLO", "HELO"):
            self._reset("idle")
        elif kind == "RSET":
            self._end()
        elif kind == "STARTTLS" and good:
            self.secured = True
            self._reset("start")
        elif kind == "MAIL" and good:
            self._reset("mail")
            self.sender = command.address
        elif kind.startswith("MAIL") and self.state == "broken" and reply.code != 503:
            self._reset("idle")
        elif kind == "RCPT" and good:
            self.recipients.append(command.address)
        elif kind.startswith("RCPT") and self.state == "mail":
            self.refused = self.refused or "attempted"
            if kind == "RCPT elsewhere":
                self.refused = "refused"
        elif kind.startswith("DATA") and self.state == "mail" and self.recipients:
            if good:
                self.accepted.append((self.sender, tuple(self.recipients)))
            self._end()
        elif kind.startswith("BDAT") and self.state not in ("start", "idle"):
            if kind.endswith("LAST"):
                if good:
                    self.accepted.append((self.sender, tuple(self.recipients)))
                self._end()
            else:
                self.state = "chunks" if good else "broken"


Command = collections.namedtuple("Command", "kind address", defaults=[None])

KINDS = {"EHLO": 8, "HELO": 1, "NOOP": 2, "RSET": 4, "VRFY": 1, "VRFY UTF-8": 2, "unknown": 2, "STARTTLS": 1,
    "STARTTLS with argument": 1, "MAIL": 22, "MAIL bad": 2, "MAIL too large": 2, "RCPT": 26, "RCPT elsewhere": 5, "RCPT bad": 3,
    "DATA": 9, "DATA too large": 1, "BDAT": 9, "BDAT LAST": 6, "BDAT 0": 1, "BDAT 0 LAST": 2, "BDAT too large": 1,
    "BDAT too large LAST": 1}

# What leads on, so that enough sessions come to the end of a mail.
LIKELY = {"start": ["EHLO"], "idle": ["MAIL"], "mail": ["RCPT", "DATA", "BDAT", "BDAT LAST"], "chunks": ["BDAT LAST"], "broken": ["RSET"]}

LINES = {"EHLO": "EHLO client.sender.test", "HELO": "HELO client.sender.test", "VRFY": "VRFY bob", "VRFY UTF-8": "VRFY ü@good.test",
    "unknown": "FOO bar", "STARTTLS with argument": "STARTTLS now", "MAIL": "MAIL FROM:<{}>", "MAIL bad": "MAIL FROM:<@>",
    "MAIL too large": "MAIL FROM:<{}> SIZE=99999999", "RCPT": "RCPT TO:<{}>", "RCPT elsewhere": "RCPT TO:<x@elsewhere.test>",
    "RCPT bad": "RCPT TO:<bob@>"}


def say(client, command):
    """Send the command with whatever belongs to it; the reply that counts."""
    kind = command.kind
    if kind == "STARTTLS":
        reply = client.do("STARTTLS")
        if reply.code == 220:
            client.handshake()
        return reply
    if kind.startswith("DATA"):
        reply = client.do("DATA")
        if reply.code != 354:
            return reply
        client.send((harness.message() if kind == "DATA" else TOO_LARGE) + b".\r\n")
        return client.read()
    if kind.startswith("BDAT"):
        # what a server out of step would take for commands
        content = b"" if " 0" in kind else TOO_LARGE if "too large" in kind else b"NOOP\r\nQUIT\r\n"
        return client.bdat(content, kind.endswith("LAST"))
    return client.do(LINES.get(kind, kind).format(command.address))


def drive(address, seed):
    """One session of random commands; the model at its end. Fails with the whole dialogue at the first wrong reply."""
    rng, model, dialogue, greeted = random.Random(seed), Model(), [], None
    with smtp.Client(address) as client:
        for number in range(rng.randint(5, 40)):
            likely = rng.random() < 0.4 and LIKELY.get(model.state)
            kind = rng.choice(likely) if likely else rng.choices(list(KINDS), KINDS.values())[0]
            if kind == "STARTTLS" and greeted != "EHLO" or greeted == "HELO" and kind.startswith(("BDAT", "MAIL too")):
                continue  # no standard says what these do after HELO
            if kind.startswith("BDAT too large") and not (model.recipients and model.state in ("mail", "chunks")):
                continue  # a refused chunk larger than a message need not be consumed (1.35)
            command = Command(kind, f"s{seed}n{number}@{'good' if kind == 'RCPT' else 'sender'}.test")
            state, allowed = model.state, model.allowed(command)
            try:
                reply = say(client, command)
            except (smtp.Closed, OSError) as e:
                raise AssertionError(f"seed {seed}: {kind} in state {state}: {e}\n" + "\n".join(dialogue)) from e
            said = f"{reply.code} {reply.status}"
            dialogue.append(f"{state:8} {kind:22} -> {reply}")
            fine = reply.code >= 400 if allowed == ["any refusal"] else said in allowed
            assert fine, f"seed {seed}: expected one of {allowed}\n" + "\n".join(dialogue)
            model.went(command, reply)
            if kind in ("EHLO", "HELO", "STARTTLS"):
                greeted = None if kind == "STARTTLS" else kind
        client.quit()
    return model


def test_1_04_1_05_1_06_random_sessions_behave_like_the_model(small, sink):
    """What is accepted and delivered is exactly what the model says; a refused command resets exactly what it should."""
    expected = collections.Counter()
    for seed in range(300):
        expected.update(drive(small.address(), seed).accepted)
    count = sum(expected.values())
    assert count > 200, "the sessions send mail"
    received = collections.Counter((line["sender"], tuple(line["recipients"])) for line in sink.wait(count, patience=90))
    assert received == expected


# Limits of a session


def test_1_12_chunks_of_one_octet_do_not_make_the_session_grow(make_gateway, sink, monkeypatch):
    options = harness.environment()["ASAN_OPTIONS"]
    monkeypatch.setenv("ASAN_OPTIONS", options + ":quarantine_size_mb=1:thread_local_quarantine_size_kb=64")
    gateway = make_gateway(next_hop=sink.address, limits=MANY)
    front = gateway.roles()["front"]["pid"]

    def anonymous():
        text = pathlib.Path(f"/proc/{front}/status").read_text()
        return int(text.split("RssAnon:")[1].split()[0])

    with smtp.Client(gateway.address()) as c:
        c.ehlo()
        c.envelope()
        assert c.bdat(b"Subject: small chunks\r\n\r\n").code == 250

        def chunks(count):
            for _ in range(count // 250):
                c.send(b"BDAT 1\r\na" * 248 + b"BDAT 1\r\n\rBDAT 1\r\n\n")
                assert {c.read().code for _ in range(250)} == {250}
            for _ in range(count // 1000):
                c.send(b"NOOP\r\nRSET now\r\nVRFY bob\r\n" * 10)
                for _ in range(30):
                    c.read()
            return anonymous()

        before = chunks(5000)
        after = chunks(40000)
        assert after - before < 2048, f"40,000 chunks of one octet took {after - before} KiB"
        assert c.bdat(last=True).code == 250
        c.quit()
    assert sink.wait()[0]["size"] > 45000


def commands_until_421(client, command, at_most):
    for number in range(1, at_most + 1):
        reply = client.do(command)
        if reply.code == 421:
            assert reply.status == "4.7.0", reply
            client.expect_closed()
            return number
    raise AssertionError(f"{at_most} times {command}, and still no 421")


@pytest.mark.parametrize("command", ["NOOP", "RSET", "EHLO client.sender.test", "VRFY bob"])
def test_1_13_commands_without_a_mail(gateway, command):
    with smtp.Client(gateway.address()) as c:
        c.ehlo()
        assert 99 <= commands_until_421(c, command, 110) <= 102, "100 is the default"


def test_1_13_limit_of_commands_is_a_setting(make_gateway, sink):
    gateway = make_gateway(next_hop=sink.address, limits={"commands": 5})
    with smtp.Client(gateway.address()) as c:
        assert 5 <= commands_until_421(c, "NOOP", 10) <= 6


def test_1_13_mail_before_ehlo_counts_as_an_error(make_gateway, sink):
    gateway = make_gateway(next_hop=sink.address, limits={"errors": 3})
    with smtp.Client(gateway.address()) as c:
        assert 3 <= commands_until_421(c, "MAIL FROM:<a@sender.test>", 10) <= 4


def test_1_13_a_busy_session_with_many_mails_goes_on(make_gateway, sink):
    """Commands that carry mail are no junk."""
    gateway = make_gateway(next_hop=sink.address, limits={"commands": 10})
    with smtp.Client(gateway.address()) as c:
        c.ehlo()
        for n in range(30):
            c.mail(f"busy{n}@sender.test", "bob@good.test", harness.message())
        c.quit()
    assert len(sink.wait(30)) == 30


def test_1_14_limits_says_how_many_recipients(make_gateway, sink):
    gateway = make_gateway(next_hop=sink.address, limits={"recipients": 150})
    with smtp.Client(gateway.address()) as c:
        assert c.ehlo().offers["LIMITS"] == "RCPTMAX=150"
        c.quit()


def test_1_14_the_1001st_recipient(gateway):
    with smtp.Client(gateway.address()) as c:
        assert c.ehlo().offers["LIMITS"] == "RCPTMAX=1000"
        c.send(b"MAIL FROM:<a@sender.test>\r\n" + b"".join(b"RCPT TO:<r%d@good.test>\r\n" % n for n in range(1001)))
        replies = [c.read() for _ in range(1002)]
        assert {r.code for r in replies[:-1]} == {250}
        assert (replies[-1].code, replies[-1].status) == (452, "4.5.3"), replies[-1]
        c.expect("RSET", 250)
        c.quit()


def test_1_11_a_line_over_the_limit_is_refused(gateway):
    """Its end is looked for within a bound: then the session goes on; beyond it, it ends."""
    with smtp.Client(gateway.address()) as c:
        c.ehlo()
        c.send(b"NOOP " + b"x" * 10000 + b"\r\nNOOP\r\n")
        reply = c.read()
        assert (reply.code, reply.status) == (500, "5.5.2"), reply
        reply = c.read()
        assert reply.code in (250, 421), reply
        assert reply.code == 421 or c.do("RSET").code == 250
    with smtp.Client(gateway.address()) as c:
        c.ehlo()
        c.send(b"NOOP " + b"x" * 500_000 + b"\r\nNOOP\r\n")
        replies = c.last_words()
        assert all(r.code in (421, 500) for r in replies), replies


def test_1_11_the_rest_of_a_long_line_is_read_with_a_deadline(make_gateway, sink):
    gateway = make_gateway(next_hop=sink.address, limits={"idle_time": "1s"})
    with smtp.Client(gateway.address()) as c:
        c.ehlo()
        c.send(b"NOOP " + b"x" * 10000)  # and never its end
        replies = c.last_words()
        assert replies and all(r.code in (421, 500) for r in replies), replies


@pytest.mark.parametrize("command", ["MAIL FROM:<a@sender.test>", "RCPT TO:<bob@good.test>"])
def test_1_11_there_is_room_for_all_parameters(client, command):
    """512 octets, and 620 for DSN, 26 for SIZE, 17 for BODY, 10 for SMTPUTF8, on MAIL and RCPT."""
    if command.startswith("MAIL"):
        envid = "x" * 100
        client.expect(f"{command} SIZE=1000 BODY=8BITMIME SMTPUTF8 RET=HDRS ENVID={envid}", 250)
    else:
        client.expect("MAIL FROM:<a@sender.test>", 250)
        client.expect(f"{command} NOTIFY=SUCCESS,FAILURE,DELAY ORCPT=rfc822;{'x' * 480}@good.test", 250)


# What is no SMTP, or comes too early


@pytest.mark.parametrize("line", ["GET / HTTP/1.1", "POST /marker HTTP/1.0", "CONNECT marker.test:443 HTTP/1.1",
    "OPTIONS * HTTP/1.1", "PRI * HTTP/2.0", "Host: marker.test", "User-Agent: marker", "Content-Type: text/marker",
    "Subject: marker"])
def test_1_15_11_01_what_is_no_smtp_ends_the_session(gateway, line):
    with smtp.Client(gateway.address()) as c:
        c.send(line + "\r\nHost: marker.test\r\n\r\nEHLO client.sender.test\r\nMAIL FROM:<evil@sender.test>\r\n")
        replies = c.last_words()
        assert len(replies) == 1 and (replies[0].code, replies[0].status) in ((421, "4.7.0"), (221, "2.7.0")), replies
        for word in ("marker", "GET", "HTTP", "Host", "CONNECT"):
            assert word not in replies[0].text, f"reflected: {replies[0]}"
    assert gateway.track(sender="evil@sender.test") == []


def test_11_01_an_http_request_with_commands_in_its_body(gateway):
    """The browser of a victim sends a form whose lines are commands."""
    body = "EHLO x\r\nMAIL FROM:<evil@sender.test>\r\nRCPT TO:<bob@good.test>\r\nDATA\r\n<script>marker</script>\r\n.\r\n"
    with smtp.Client(gateway.address()) as c:
        c.ehlo()
        c.starttls()
        c.send(f"POST / HTTP/1.1\r\nHost: gw.good.test\r\nContent-Length: {len(body)}\r\n\r\n{body}")
        replies = c.last_words()
        assert all(r.code >= 400 or r.code == 221 for r in replies), replies
        assert "marker" not in str(replies) and "script" not in str(replies)
    assert gateway.track(sender="evil@sender.test") == []


@pytest.mark.parametrize("line", ["NOOP <script>marker</script>", "<script>marker</script>", "EHLO <script>marker</script>",
    "MAIL FROM:<<script>marker</script>>", "RCPT <marker>", "VRFY <script>marker</script>", "BDAT <script>marker</script>",
    "STARTTLS <marker>", "RSET <marker>", "HELP <marker>", "MAIL FROM:<a@sender.test> marker=<script>"])
def test_11_01_no_reply_reflects_what_was_sent(client, line):
    assert "marker" not in client.do(line).text


@pytest.mark.parametrize("early", [b"EHLO client.sender.test\r\n", b"x", b"\r\n", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03"],
    ids=["EHLO", "one byte", "empty line", "ClientHello"])
def test_1_16_bytes_before_the_greeting(gateway, early):
    front = gateway.roles()["front"]["pid"]
    os.kill(front, signal.SIGSTOP)  # the connection waits in the backlog: the bytes are there before any greeting
    try:
        client = smtp.Client(gateway.address(), greet=False)
        client.send(early)
    finally:
        os.kill(front, signal.SIGCONT)
    with client:
        client.expect_last(554, "5.5.0")


@pytest.mark.parametrize("first", ["EHLO client.sender.test", "HELO client.sender.test", "QUIT"])
@pytest.mark.parametrize("tls", [False, True], ids=["clear", "TLS"])
def test_1_17_commands_behind_the_last_of_a_group(gateway, first, tls):
    with smtp.Client(gateway.address()) as c:
        if tls:
            c.ehlo()
            c.starttls()
        c.send(f"{first}\r\nMAIL FROM:<evil@sender.test>\r\nRCPT TO:<bob@good.test>\r\n")
        c.expect_last(554, "5.5.0")
    assert gateway.track(sender="evil@sender.test") == []


def test_1_17_data_whose_text_does_not_wait(client, gateway):
    client.envelope("hasty@sender.test")
    client.send(b"DATA\r\n" + harness.message() + b".\r\n")
    client.expect_last(554, "5.5.0")
    assert not [r for r in gateway.track(sender="hasty@sender.test") if r["recipients"][0]["state"] != "refused"]


def test_1_17_starttls_that_does_not_wait(client):
    client.send(b"STARTTLS\r\nNOOP\r\n")
    replies = client.last_words()
    assert [r.code for r in replies] in ([], [554]), f"silence (1.46) or 554: {replies}"


def test_1_18_bdat_is_pipelined_too(client, sink):
    one, two = b"Subject: a\r\n\r\n", b"body\r\n.\r\n"
    client.send(b"MAIL FROM:<a@sender.test>\r\nRCPT TO:<bob@good.test>\r\nBDAT %d\r\n%sBDAT %d LAST\r\n%sNOOP\r\n"
        % (len(one), one, len(two), two))
    assert [client.read().code for _ in range(5)] == [250] * 5
    assert sink.content(sink.wait()[0]).endswith(one + two)


def test_1_18_a_client_that_never_reads_is_dropped(make_gateway, sink):
    """The server neither keeps replies without end nor waits without end."""
    gateway = make_gateway(next_hop=sink.address, limits=dict(MANY, idle_time="1s"))
    with smtp.Client(gateway.address()) as c:
        c.ehlo()
        c.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        dropped = False
        try:
            while True:  # the replies are more than the buffers of both sides hold: at last the server cannot write
                c.send(b"HELP\r\n" * 5000)
        except TimeoutError:
            pass
        except OSError:
            dropped = True
        assert dropped, "the server waits for a client that does not read"
    smtp.submit(gateway.address(), "next@sender.test", "bob@good.test", harness.message())


# EHLO arguments, replies


@pytest.mark.parametrize("name", ["a" * 4096, "x)y", "a\x7fb", "a\x00b", "a\rb"], ids=["4 KiB", "bracket", "DEL", "NUL", "CR"])
def test_1_19_an_argument_that_could_break_a_field_or_a_log(gateway, sink, name):
    with smtp.Client(gateway.address()) as c:
        reply = c.do(f"EHLO {name}")
        if name.startswith("aaa"):
            assert (reply.code, reply.status) in ((501, "5.5.4"), (500, "5.5.2")), reply
        elif name != "x)y" or reply.code != 250:  # a printable name that is no domain may be taken, if it breaks nothing
            assert (reply.code, reply.status) in ((501, "5.5.4"), (521, "5.5.2")), reply
        else:
            c.mail("a@sender.test", "bob@good.test", harness.message())
            field, rest = harness.split_received(sink.content(sink.wait()[0]))
            assert rest == harness.message() and balanced(field), field


def balanced(field):
    """True when the comments of a header field open and close."""
    depth, quoted = 0, False
    for c in field:
        if quoted:
            quoted = False
        elif c == "\\":
            quoted = True
        else:
            depth += (c == "(") - (c == ")")
            if depth < 0:
                return False
    return depth == 0


def test_1_20_every_line_of_every_reply(client):
    """Also those of several lines; the greeting, EHLO, HELO and 354 carry no enhanced code."""
    commands = ["HELP", "HELP MAIL", "NOOP", "VRFY bob", "EXPN staff", "ETRN x", "TURN", "AUTH PLAIN x", "XCLIENT NAME=x", "FOO",
        "RCPT TO:<bob@good.test>", "DATA", "MAIL FROM:<a@sender.test> SIZE=999999999999", "MAIL FROM:<a@sender.test> X=1",
        "MAIL FROM:<ü@sender.test>", "MAIL FROM:<a@sender.test>", "MAIL FROM:<a@sender.test>", "DATA", "RCPT TO:<x@else.test>",
        "RCPT TO:<bob@good.test> NOTIFY=x", "RCPT TO:<bob@good.test>", "RSET", "BDAT 0 LAST", "STARTTLS x", "QUIT"]
    for command in commands:
        reply = client.do(command)
        for line in reply.lines:
            assert smtp.Reply([line]).status is not None, f"{command}: {reply}"
            assert smtp.Reply([line]).status[0] == str(reply.code)[0], f"{command}: {reply}"
            assert smtp.Reply([line]).status == reply.status, f"{command}: {reply}"


def test_1_20_without_enhanced_code(gateway):
    with smtp.Client(gateway.address()) as c:
        for reply in (c.greeting, c.do("HELO client.sender.test"), c.ehlo()):
            assert reply.code in (220, 250) and all(smtp.Reply([line]).status is None for line in reply.lines), reply
        c.envelope()
        assert c.do("DATA").status is None
