"""SMTP in: verb order, addresses, sizes, the end of data, pipelining, relaying. Conformance section 1."""

import concurrent.futures
import random

import pytest

import harness
import smtp


@pytest.fixture
def client(gateway):
    """A greeted session in clear with the smallest useful gateway."""
    with smtp.Client(gateway.address()) as c:
        c.ehlo()
        yield c


# Greeting and EHLO


def test_greeting_and_offers(gateway):
    with smtp.Client(gateway.address()) as c:
        assert c.greeting.code == 220
        assert c.greeting.text.split(" ")[1].split("\n")[0] == harness.HOSTNAME
        reply = c.ehlo()
        assert reply.lines[0].split(" ")[0][4:] == harness.HOSTNAME or harness.HOSTNAME in reply.lines[0]
        assert {"PIPELINING", "SIZE", "ENHANCEDSTATUSCODES", "STARTTLS"} <= set(reply.offers)
        assert int(reply.offers["SIZE"]) == 50 * 1024 * 1024
        c.quit()


def test_1_64_helo_gives_plain_smtp(gateway, sink):
    with smtp.Client(gateway.address()) as c:
        c.expect("HELO client.sender.test", 250)
        c.mail("helo@sender.test", "bob@good.test", harness.message())
        c.quit()
    field, _ = harness.split_received(sink.content(sink.wait()[0]))
    assert "with SMTP" in field and "ESMTP" not in field


@pytest.mark.parametrize("argument", ["", " ", " (injection)", " a\x01b", " x" + "y" * 300])
def test_1_19_bad_ehlo_argument(gateway, argument):
    with smtp.Client(gateway.address()) as c:
        c.expect("EHLO" + argument, 501, "5.5.4")
        c.ehlo()
        c.quit()


def test_1_19_address_literals_are_fine(gateway):
    with smtp.Client(gateway.address()) as c:
        c.expect("EHLO [127.0.0.1]", 250)
        c.expect("EHLO [IPv6:2001:db8::1]", 250)
        c.quit()


# Order of verbs


def test_1_01_mail_before_ehlo(gateway):
    with smtp.Client(gateway.address()) as c:
        c.expect("MAIL FROM:<a@sender.test>", 503, "5.5.1")
        c.ehlo()
        c.expect("RCPT TO:<bob@good.test>", 503, "5.5.1")
        c.quit()


def test_1_02_ehlo_resets_the_transaction(client):
    client.expect("MAIL FROM:<a@sender.test>", 250)
    client.expect("RCPT TO:<bob@good.test>", 250)
    client.ehlo()
    client.expect("DATA", 503, "5.5.1")


def test_1_03_second_mail(client, gateway):
    client.expect("MAIL FROM:<first@sender.test>", 250)
    client.expect("MAIL FROM:<second@sender.test>", 503, "5.5.1")
    client.expect("RCPT TO:<bob@good.test>", 250)
    assert client.data(harness.message()).code == 250
    gateway.tracked("delivered", sender="first@sender.test")
    assert gateway.track(sender="second@sender.test") == []


def test_1_07_rcpt_and_data_out_of_order(client):
    client.expect("RCPT TO:<bob@good.test>", 503, "5.5.1")
    client.expect("DATA", 503, "5.5.1")
    client.expect("MAIL FROM:<a@sender.test>", 250)
    client.expect("DATA", 503, "5.5.1")


def test_1_07_data_when_all_recipients_were_refused(client):
    client.expect("MAIL FROM:<a@sender.test>", 250)
    client.expect("RCPT TO:<x@elsewhere.test>", 550, "5.7.1")
    client.expect("DATA", 554, "5.5.1")
    client.expect("NOOP", 250)


def test_transaction_is_over_after_data(client):
    client.mail("a@sender.test", "bob@good.test", harness.message())
    client.expect("DATA", 503, "5.5.1")
    client.expect("RCPT TO:<bob@good.test>", 503, "5.5.1")
    client.mail("a@sender.test", "bob@good.test", harness.message())


def test_1_09_unknown_and_disabled_verbs(client):
    client.expect("FOO", 500, "5.5.2")
    reply = client.do("VRFY bob")
    assert (reply.code, reply.status) in ((252, "2.5.0"), (502, "5.5.1")), reply
    client.expect("NOOP", 250)


def test_1_10_noop_and_rset(client):
    client.expect("NOOP", 250, "2.0.0")
    client.expect("NOOP with an argument", 250, "2.0.0")
    client.expect("RSET with", 501, "5.5.4")
    client.expect("MAIL FROM:<a@sender.test>", 250)
    client.expect("RSET", 250, "2.0.0")
    client.expect("RCPT TO:<bob@good.test>", 503, "5.5.1")
    client.expect("quit", 221, "2.0.0")
    client.expect_closed()


def test_1_20_every_reply_carries_its_status(client):
    commands = ["NOOP", "RSET", "FOO", "MAIL FROM:<a@sender.test>", "MAIL FROM:<b@sender.test>", "RCPT TO:<x@else.test>",
        "RCPT TO:<bob@good.test>", "RCPT TO:<>", "RCPT bob", "STARTTLS foo", "VRFY bob", "RSET", "QUIT"]
    for command in commands:
        reply = client.do(command)
        assert reply.status is not None and reply.status[0] == str(reply.code)[0], f"{command}: {reply}"


def test_1_13_too_many_errors(gateway):
    with smtp.Client(gateway.address()) as c:
        c.ehlo()
        replies = []
        for _ in range(20):
            replies.append(c.do("FOO"))
            if replies[-1].code == 421:
                break
        if replies[-1].code != 421:
            replies.append(c.read() if c.buffer else c.do("FOO"))
        assert (replies[-1].code, replies[-1].status) == (421, "4.7.0"), replies
        assert 19 <= len(replies) <= 21
        c.expect_closed()


def test_1_11_a_line_without_end(gateway):
    with smtp.Client(gateway.address()) as c:
        c.ehlo()
        c.send(b"NOOP " + b"x" * 5000 + b"\r\n")
        assert c.read().code in (500, 421)
    with smtp.Client(gateway.address()) as c:
        try:
            for _ in range(400):
                c.send(b"x" * 65536)
        except OSError:
            pass  # it hung up: the right thing to do
        assert b"250" not in c.rest()


def test_1_24_bare_lf_ends_no_command(gateway):
    with smtp.Client(gateway.address()) as c:
        c.send(b"EHLO client.sender.test\n")
        try:
            reply = c.read()
        except smtp.Closed:
            return
        assert reply.code >= 400, reply


# Addresses and parameters


@pytest.mark.parametrize("path", ["a@sender.test", "<a@sender.test", "<a@>", "<@>", "<a\x00@sender.test>", '<""@sender.test>',
    "<" + "a" * 65 + "@sender.test>", "<a@" + ".".join(["b" * 60] * 5) + ">", "<a b@sender.test>", "<a@sender..test>"])
def test_1_42_bad_sender(client, path):
    reply = client.do(f"MAIL FROM:{path}")
    assert reply.code == 501 and reply.status in ("5.1.7", "5.5.4"), reply
    client.expect("RCPT TO:<bob@good.test>", 503)


@pytest.mark.parametrize("path", ["<>", "bob@good.test", "<bob@good.test", "<bob@>", "<" + "a" * 65 + "@good.test>"])
def test_1_42_bad_recipient(client, path):
    client.expect("MAIL FROM:<a@sender.test>", 250)
    reply = client.do(f"RCPT TO:{path}")
    assert reply.code == 501 and reply.status in ("5.1.3", "5.5.4"), reply
    client.expect("RCPT TO:<bob@good.test>", 250)


def test_1_42_source_route_is_stripped(client, sink):
    client.expect("MAIL FROM:<a@sender.test>", 250)
    client.expect("RCPT TO:<@relay.test,@other.test:bob@good.test>", 250)
    assert client.data(harness.message()).code == 250
    assert sink.wait()[0]["recipients"] == ["bob@good.test"]


def test_source_route_is_no_way_around_the_relay_rule(client):
    client.expect("MAIL FROM:<a@sender.test>", 250)
    client.expect("RCPT TO:<@good.test:x@elsewhere.test>", 550, "5.7.1")


def test_1_44_unknown_parameter(client):
    client.expect("MAIL FROM:<a@sender.test> FOO=bar", 555, "5.5.4")
    client.expect("MAIL FROM:<a@sender.test>", 250)
    client.expect("RCPT TO:<bob@good.test> FOO", 555, "5.5.4")


def test_1_68_null_sender_and_case_of_the_domain(client, gateway, sink):
    client.mail("", ["Bob@GOOD.test", "carol@good.test"], harness.message())
    (line,) = sink.wait()
    assert line["sender"] == ""
    assert [r.split("@")[0] for r in line["recipients"]] == ["Bob", "carol"], "the local part keeps its case"
    gateway.tracked("delivered", recipient="carol@good.test")


# Size


def test_1_31_size(make_gateway, sink):
    gateway = make_gateway(next_hop=sink.address, limits={"message_size": "100KiB"})
    with smtp.Client(gateway.address()) as c:
        assert c.ehlo().offers["SIZE"] == str(100 * 1024)
        c.expect("MAIL FROM:<a@sender.test> SIZE=102401", 552, "5.3.4")
        c.expect("MAIL FROM:<a@sender.test> SIZE=abc", 501, "5.5.4")
        c.expect("MAIL FROM:<a@sender.test> SIZE=123456789012345678901", 501, "5.5.4")
        c.expect("MAIL FROM:<a@sender.test> SIZE=102400", 250)
        c.expect("RCPT TO:<bob@good.test>", 250)
        reply = c.data(harness.message("too large", ("x" * 70 + "\r\n") * 3000))
        assert (reply.code, reply.status) == (552, "5.3.4"), "all data is read, then refused"
        c.mail("a@sender.test", "bob@good.test", harness.message("fits", ("x" * 70 + "\r\n") * 1000))
        c.quit()
    assert len(sink.wait()) == 1


def test_1_14_recipient_limit(make_gateway, sink):
    gateway = make_gateway(next_hop=sink.address, limits={"recipients": 100})
    with smtp.Client(gateway.address()) as c:
        c.ehlo()
        c.expect("MAIL FROM:<a@sender.test>", 250)
        for n in range(100):
            c.expect(f"RCPT TO:<r{n}@good.test>", 250)
        c.expect("RCPT TO:<r100@good.test>", 452, "4.5.3")
        assert c.data(harness.message()).code == 250
        c.quit()
    recipients = [r for line in sink.wait() for r in line["recipients"]]
    assert sorted(recipients) == sorted(f"r{n}@good.test" for n in range(100))


# The end of data

LOOKALIKES = [b"\n.\n", b"\n.\r\n", b"\r\n.\n", b"\r.\r", b"\r\n.\r", b"\r.\r\n", b"\r\n.\r\r\n", b"\r\n\0.\r\n"]


@pytest.mark.parametrize("mark", LOOKALIKES, ids=lambda mark: repr(mark)[2:-1])
@pytest.mark.parametrize("split", [False, True], ids=["one write", "byte by byte"])
def test_1_22_1_23_only_crlf_dot_crlf_ends_data(gateway, sink, mark, split):
    smuggled = (b"MAIL FROM:<smuggled@sender.test>\r\nRCPT TO:<bob@good.test>\r\nDATA\r\nSubject: smuggled\r\n\r\nx\r\n")
    data = b"Subject: outer\r\n\r\nouter" + mark + smuggled + b".\r\n"
    with smtp.Client(gateway.address()) as c:
        c.ehlo()
        c.expect("MAIL FROM:<outer@sender.test>", 250)
        c.expect("RCPT TO:<bob@good.test>", 250)
        c.expect("DATA", 354)
        if split:
            for n in range(len(data)):
                c.send(data[n:n + 1])
        else:
            c.send(data)
        reply = c.read()
        bare_lf = b"\n" in mark.replace(b"\r\n", b"")
        if bare_lf:
            assert (reply.code, reply.status) == (521, "5.5.2"), reply
            c.expect_closed()
        else:
            assert reply.code in (250, 521, 550, 554), reply
            if reply.code != 521:
                c.expect("NOOP", 250)  # one reply for all of it: nothing behind the mark was a command
                c.quit()
    smtp.submit(gateway.address(), "next@sender.test", "bob@good.test", harness.message("next"))
    gateway.tracked("delivered", sender="next@sender.test")
    assert gateway.track(sender="smuggled@sender.test") == []
    assert all(line["sender"] != "smuggled@sender.test" for line in sink.messages)


def test_1_28_long_lines_and_dots(client, sink):
    """Fragments of a long line that start with a dot are not lines."""
    body = "." + "a" * 2047 + "." + "b" * 2047 + ".\r\n..\r\n...\r\n.x\r\n" + "c" * 998 + "\r\n"
    content = harness.message("dots", body)
    client.mail("a@sender.test", "bob@good.test", content)
    _, rest = harness.split_received(sink.content(sink.wait()[0]))
    assert rest == content


@pytest.mark.parametrize("content", [b"", b"\r\n", b".\r\n", b" folded first line\r\n", b"\r\nbody only\r\n"],
    ids=["empty", "empty line", "one dot", "folded", "no header"])
def test_1_27_odd_first_lines(client, sink, content):
    """The Received field cannot be merged with the message."""
    client.expect("MAIL FROM:<a@sender.test>", 250)
    client.expect("RCPT TO:<bob@good.test>", 250)
    client.expect("DATA", 354)
    client.send((b"." if content.startswith(b".") else b"") + content + b".\r\n")
    assert client.read().code == 250
    stored = sink.content(sink.wait()[0])
    assert stored.startswith(b"Received:")
    assert stored.endswith(content)
    field = stored[:len(stored) - len(content)]
    assert b"folded" not in field
    if content.startswith(b" "):
        assert field.endswith(b"\r\n") and not field.split(b"\r\n")[-1].startswith(b" ")


# Pipelining


def test_1_18_pipelined_transaction(client, sink):
    client.send(b"MAIL FROM:<a@sender.test>\r\nRCPT TO:<bob@good.test>\r\nRCPT TO:<x@elsewhere.test>\r\n"
        b"RCPT TO:<carol@good.test>\r\nDATA\r\n")
    assert [client.read().code for _ in range(5)] == [250, 250, 550, 250, 354]
    client.send(harness.message() + b".\r\nRSET\r\nNOOP\r\nQUIT\r\n")
    assert [client.read().code for _ in range(4)] == [250, 250, 250, 221]
    client.expect_closed()
    assert sink.wait()[0]["recipients"] == ["bob@good.test", "carol@good.test"]


def test_1_18_thousand_pipelined_commands_do_not_deadlock(client):
    """The client reads nothing until it has written everything."""
    client.send(b"MAIL FROM:<a@sender.test>\r\n" + b"".join(b"RCPT TO:<r%d@good.test>\r\n" % n for n in range(1000)))
    client.send(b"RSET\r\n")
    assert [client.read().code for _ in range(1002)] == [250] * 1002


def test_a_command_byte_by_byte(client):
    for c in b"NOOP\r\n":
        client.send(bytes([c]))
    assert client.read().code == 250


# Relaying


def test_relay_refused(client, gateway):
    client.expect("MAIL FROM:<a@sender.test>", 250)
    for address in ("x@elsewhere.test", "x@sub.good.test", "bob%elsewhere.test@elsewhere.test", "x@good.test.elsewhere"):
        client.expect(f"RCPT TO:<{address}>", 550, "5.7.1")
    client.expect("RCPT TO:<bob@good.test>", 250)


def test_client_networks_may_relay(make_gateway, sink):
    configuration = harness.settings(
        sender_groups=[{"name": "ours", "networks": ["127.0.0.0/8", "2001:db8::/32"], "policy": "relayed"}],
        mail_flow_policies=[{"name": "accepted"}, {"name": "relayed", "action": "relay"}],
        routes=[{"domain": "default", "next_hop": sink.address}])
    gateway = make_gateway(configuration)
    smtp.submit(gateway.address(), "in@good.test", "x@elsewhere.test", harness.message())
    gateway.tracked("delivered", recipient="x@elsewhere.test")


def test_other_networks_may_not_relay(make_gateway, sink):
    configuration = harness.settings(
        sender_groups=[{"name": "ours", "networks": ["192.0.2.0/24"], "policy": "relayed"}],
        mail_flow_policies=[{"name": "accepted"}, {"name": "relayed", "action": "relay"}],
        routes=[{"domain": "default", "next_hop": sink.address}])
    with smtp.Client(make_gateway(configuration).address()) as c:
        c.ehlo()
        c.expect("MAIL FROM:<a@sender.test>", 250)
        c.expect("RCPT TO:<x@elsewhere.test>", 550, "5.7.1")
        c.expect("RCPT TO:<bob@good.test>", 250)
        c.quit()


def test_first_matching_group_counts(make_gateway, sink):
    configuration = harness.settings(
        sender_groups=[{"name": "one", "networks": ["127.0.0.1"], "policy": "accepted"},
            {"name": "all", "networks": ["127.0.0.0/8"], "policy": "relayed"}],
        mail_flow_policies=[{"name": "accepted"}, {"name": "relayed", "action": "relay"}],
        routes=[{"domain": "default", "next_hop": sink.address}])
    with smtp.Client(make_gateway(configuration).address()) as c:
        c.ehlo()
        c.expect("MAIL FROM:<a@sender.test>", 250)
        c.expect("RCPT TO:<x@elsewhere.test>", 550, "5.7.1")
        c.quit()


def test_rejected_networks_hear_554(make_gateway, sink):
    configuration = harness.settings(next_hop=sink.address,
        sender_groups=[{"name": "bad", "networks": ["127.0.0.0/8"], "policy": "refused"}],
        mail_flow_policies=[{"name": "accepted"}, {"name": "refused", "action": "reject"}])
    gateway = make_gateway(configuration)
    with smtp.Client(gateway.address()) as c:
        assert c.greeting.code == 554, c.greeting
    wanted = lambda: [r for r in gateway.track(since="1h") if r["recipients"][0]["state"] == "refused"]
    (record,) = harness.wait_for("the refused connection is tracked", wanted)
    assert record["inbound"]["client"].startswith("127.0.0.1")


# Many sessions


def test_eight_parallel_sessions(gateway, sink):
    rng = random.Random(1)
    sent = {}
    for worker in range(8):
        for n in range(10):
            lines = "".join(f"{rng.random()}\r\n" for _ in range(rng.choice([1, 20, 8000])))
            sent[f"w{worker}n{n}@sender.test"] = harness.message(f"{worker} {n}", lines)

    def work(worker):
        with smtp.Client(gateway.address()) as c:
            c.ehlo()
            if worker % 2:
                c.starttls()
                c.ehlo()
            for n in range(10):
                sender = f"w{worker}n{n}@sender.test"
                c.mail(sender, "bob@good.test", sent[sender])
            c.quit()

    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        list(pool.map(work, range(8)))
    for line in sink.wait(80, patience=90):
        _, rest = harness.split_received(sink.content(line))
        assert rest == sent.pop(line["sender"])
    assert sent == {}


def test_connection_limit(make_gateway, sink):
    gateway = make_gateway(next_hop=sink.address, limits={"connections": 2})
    with smtp.Client(gateway.address()) as one, smtp.Client(gateway.address()) as two:
        one.ehlo()
        two.ehlo()
        with smtp.Client(gateway.address()) as three:
            assert three.greeting.code == 421, three.greeting
            three.expect_closed()
        one.quit()
        harness.wait_for("a place is free again", lambda: greets(gateway.address()))


def greets(address):
    with smtp.Client(address) as c:
        return c.greeting.code == 220


def test_1_69_idle_client_hears_421(make_gateway, sink):
    gateway = make_gateway(next_hop=sink.address, limits={"idle_time": "1s"})
    with smtp.Client(gateway.address()) as c:
        c.ehlo()
        reply = c.read()
        assert (reply.code, reply.status) == (421, "4.4.2"), reply
        c.expect_closed()


def test_session_time_ends_a_busy_client(make_gateway, sink):
    gateway = make_gateway(next_hop=sink.address, limits={"session_time": "2s"})
    with smtp.Client(gateway.address()) as c:
        c.ehlo()

        def is_over():
            reply = c.do("NOOP")
            return reply if reply.code == 421 else None

        harness.wait_for("the session is ended", is_over)
        c.expect_closed()


def test_client_that_vanishes_in_the_data_leaves_nothing(gateway, sink):
    with smtp.Client(gateway.address()) as c:
        c.ehlo()
        c.expect("MAIL FROM:<gone@sender.test>", 250)
        c.expect("RCPT TO:<bob@good.test>", 250)
        c.expect("DATA", 354)
        c.send(harness.message("half", "x\r\n" * 100000))
    smtp.submit(gateway.address(), "next@sender.test", "bob@good.test", harness.message())
    gateway.tracked("delivered", sender="next@sender.test")
    assert gateway.track(sender="gone@sender.test") == []
    assert [line["sender"] for line in sink.messages] == ["next@sender.test"]
