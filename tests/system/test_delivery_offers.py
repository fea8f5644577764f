"""What a peer offers and limits: pipelining, SIZE, 8BITMIME, SMTPUTF8, DSN, CHUNKING, LIMITS. What it hears is what it can take."""

import re

import pytest

import harness
import smtp
from test_delivery import send

ALL = ("PIPELINING", "8BITMIME", "SMTPUTF8", "DSN", "CHUNKING")
LATER = {"retry": ["1h"]}


def mail_with(gateway, sender, recipients, content, parameters="", rcpt_parameters=""):
    with smtp.Client(gateway.address()) as c:
        c.ehlo()
        c.expect(f"MAIL FROM:<{sender}> {parameters}".rstrip(), 250)
        for recipient in [recipients] if isinstance(recipients, str) else recipients:
            c.expect(f"RCPT TO:<{recipient}> {rcpt_parameters}".rstrip(), 250)
        reply = c.data(content)
        assert reply.code == 250, reply
        c.quit()


def commands(server, verb):
    return [line.encode("latin-1").decode() for s in server.sessions for line, _ in s.commands if line.upper().startswith(verb)]


# How many recipients


def split_mail(make_gateway, server, count=25, **options):
    gateway = make_gateway(next_hop=server.address, delivery=LATER, **options)
    people = [f"u{n}@good.test" for n in range(count)]
    send(gateway, recipients=people)
    record = gateway.tracked("delivered", sender="alice@sender.test")
    assert [len(r["attempts"]) for r in record["recipients"]] == [1] * count, "all in one attempt"
    assert sorted(r for m in server.messages for r in m.recipients) == sorted(people), "each of them once"
    assert len(server.sessions) == 1, "over one connection"
    return server.messages


@pytest.mark.parametrize("offers", [("PIPELINING", "8BITMIME"), ("8BITMIME",), ALL], ids=["pipelined", "one by one", "all"])
def test_2_25_452_splits_the_transaction(make_gateway, make_peer, offers):
    messages = split_mail(make_gateway, make_peer(rcpt_limit=10, offers=offers))
    assert [len(m.recipients) for m in messages] == [10, 10, 5]


@pytest.mark.parametrize("limits", ["LIMITS RCPTMAX=10", "limits MAILMAX=100 RCPTMAX=10"])
def test_2_25_limits_is_kept(make_gateway, make_peer, limits):
    server = make_peer(rcpt_limit=10, offers=("PIPELINING", "8BITMIME", limits))
    assert [len(m.recipients) for m in split_mail(make_gateway, server)] == [10, 10, 5]
    assert len(commands(server, "RCPT")) == 25, "nobody was asked for in vain"


def test_2_25_a_thousand_recipients_in_hundreds(make_gateway, make_peer):
    messages = split_mail(make_gateway, make_peer(rcpt_limit=100), count=1000)
    assert [len(m.recipients) for m in messages] == [100] * 10


def test_2_25_a_peer_of_one_recipient(make_gateway, make_peer):
    messages = split_mail(make_gateway, make_peer(rcpt_limit=1), count=7)
    assert [len(m.recipients) for m in messages] == [1] * 7


def test_2_25_2_23_refused_ones_are_settled_and_the_others_still_go(make_gateway, make_peer):
    server = make_peer(rcpt_limit=2, rcpt={"b@good.test": "550 5.1.1 nobody", "d@good.test": "450 4.2.1 later"})
    gateway = make_gateway(next_hop=server.address, delivery=LATER)
    send(gateway, recipients=[f"{c}@good.test" for c in "abcdef"])
    states = {}

    def settled():
        states.update({r["address"][0]: r["state"] for r in gateway.track(sender="alice@sender.test")[0]["recipients"]})
        return "queued" not in states.values()

    harness.wait_for("all have an outcome", settled)
    assert states == {"a": "delivered", "b": "bounced", "c": "delivered", "d": "deferred", "e": "delivered", "f": "delivered"}
    assert [m.recipients for m in server.messages] == [["a@good.test", "c@good.test"], ["e@good.test"], ["f@good.test"]]


# How large


def test_2_24_nothing_is_said_of_a_mail_that_is_too_large(make_gateway, make_peer):
    server = make_peer(size=1000)
    gateway = make_gateway(next_hop=server.address)
    send(gateway, content=harness.message("large", ("x" * 70 + "\r\n") * 20))
    record = gateway.tracked("bounced", sender="alice@sender.test")
    assert record["recipients"][0]["attempts"][0]["reply"].startswith("552 5.3.4")
    assert commands(server, "MAIL") == []


def test_the_size_that_is_declared_is_the_size_that_comes(make_gateway, make_peer):
    server = make_peer()
    gateway = make_gateway(next_hop=server.address)
    send(gateway, content=harness.message("dots", ".\r\n..\r\n" * 100))
    (message,) = server.wait()
    assert f" SIZE={len(message.content)} " in commands(server, "MAIL")[0] + " "


@pytest.mark.parametrize("size", [0, None], ids=["no limit stated", "no SIZE"])
def test_without_a_limit_everything_goes(make_gateway, make_peer, size):
    server = make_peer(size=size)
    gateway = make_gateway(next_hop=server.address)
    send(gateway)
    server.wait()
    assert (" SIZE=" in commands(server, "MAIL")[0]) == (size is not None)


# 8 bits

EIGHT_BIT = harness.message("eight", "Größe: ä\r\n")


def test_1_39_8bit_content_for_a_peer_of_7_bits_is_returned(make_gateway, make_peer):
    server = make_peer(offers=("PIPELINING",))
    gateway = make_gateway(next_hop=server.address)
    mail_with(gateway, "alice@sender.test", "bob@good.test", EIGHT_BIT, "BODY=8BITMIME")
    record = gateway.tracked("bounced", sender="alice@sender.test")
    assert record["recipients"][0]["attempts"][0]["reply"].startswith("554 5.6.3")
    assert commands(server, "MAIL") == []


@pytest.mark.parametrize("declared", ["BODY=8BITMIME", ""], ids=["declared", "not declared"])
def test_1_39_8bit_content_is_declared_and_arrives_unchanged(make_gateway, make_peer, declared):
    server = make_peer()
    gateway = make_gateway(next_hop=server.address)
    mail_with(gateway, "alice@sender.test", "bob@good.test", EIGHT_BIT, declared)
    (message,) = server.wait()
    assert message.content.endswith(EIGHT_BIT)
    assert commands(server, "MAIL")[0].endswith(" BODY=8BITMIME")


def test_1_39_7bit_content_declared_as_8bit_goes_to_a_peer_of_7_bits(make_gateway, make_peer):
    server = make_peer(offers=())
    gateway = make_gateway(next_hop=server.address)
    mail_with(gateway, "alice@sender.test", "bob@good.test", harness.message(), "BODY=8BITMIME")
    server.wait()
    assert "BODY" not in commands(server, "MAIL")[0]


# UTF-8


def test_1_41_smtputf8_is_handed_on(make_gateway, make_peer):
    server = make_peer(offers=ALL)
    gateway = make_gateway(next_hop=server.address)
    mail_with(gateway, "jürgen@sender.test", "jürgen@good.test", harness.message("Grüße"), "SMTPUTF8 BODY=8BITMIME")
    server.wait()
    (mail,) = commands(server, "MAIL")
    assert mail.startswith("MAIL FROM:<jürgen@sender.test> ") and " SMTPUTF8" in mail
    assert commands(server, "RCPT") == ["RCPT TO:<jürgen@good.test>"]


@pytest.mark.parametrize("sender,recipient,subject,state", [("a@sender.test", "b@good.test", "ascii", "delivered"),
    ("a@sender.test", "b@good.test", "Grüße", "bounced"), ("ä@sender.test", "b@good.test", "ascii", "bounced"),
    ("a@sender.test", "ä@good.test", "ascii", "bounced")], ids=["all ASCII", "header", "sender", "recipient"])
def test_1_41_a_peer_without_smtputf8(make_gateway, make_peer, sender, recipient, subject, state):
    server = make_peer(offers=("PIPELINING", "8BITMIME"))
    gateway = make_gateway(next_hop=server.address)
    content = b"Subject: " + subject.encode() + "\r\n\r\nKörper\r\n".encode()
    mail_with(gateway, sender, recipient, content, "SMTPUTF8 BODY=8BITMIME")
    record = gateway.tracked(state, recipient=recipient)
    if state == "bounced":
        assert record["recipients"][0]["attempts"][0]["reply"].startswith("553 5.6.7")
        assert commands(server, "MAIL") == []
    else:
        assert "SMTPUTF8" not in commands(server, "MAIL")[0]


def test_1_41_1_43_parameters_survive_a_deferral_and_a_restart(make_gateway, make_peer):
    server = make_peer(offers=ALL, mail=["450 4.3.2 later", "250 2.1.0 ok"])
    gateway = make_gateway(next_hop=server.address, delivery={"retry": ["1s"]})
    mail_with(gateway, "jürgen@sender.test", "bob@good.test", harness.message(), "SMTPUTF8 BODY=8BITMIME RET=HDRS ENVID=QQ+2B1",
        "NOTIFY=SUCCESS,FAILURE ORCPT=rfc822;Bob+2B40x")
    harness.wait_for("the first attempt", lambda: commands(server, "MAIL"))
    gateway.stop()
    gateway.start()
    server.wait()
    first, *_, last = commands(server, "MAIL")
    assert first == last and " SMTPUTF8" in last and " RET=HDRS ENVID=QQ+2B1" in last
    assert set(commands(server, "RCPT")) == {"RCPT TO:<bob@good.test> NOTIFY=SUCCESS,FAILURE ORCPT=rfc822;Bob+2B40x"}


# DSN


@pytest.mark.parametrize("envid,orcpt", [("QQ314159", "rfc822;Bob+2B40x@good.test"), ("a+2Bb+3Dc", "rfc822;a+2Bb+3Dc"), ("x", "x400;/C+3DDE/+2B")])
def test_1_43_dsn_parameters_arrive_as_they_came(make_gateway, make_peer, envid, orcpt):
    server = make_peer(offers=ALL)
    gateway = make_gateway(next_hop=server.address)
    mail_with(gateway, "alice@sender.test", "bob@good.test", harness.message(), f"RET=FULL ENVID={envid}", f"NOTIFY=DELAY,FAILURE ORCPT={orcpt}")
    server.wait()
    assert f" RET=FULL ENVID={envid}" in commands(server, "MAIL")[0]
    assert commands(server, "RCPT") == [f"RCPT TO:<bob@good.test> NOTIFY=FAILURE,DELAY ORCPT={orcpt}"]


def test_1_43_a_peer_without_dsn_hears_no_dsn_parameters(make_gateway, make_peer):
    server = make_peer()
    gateway = make_gateway(next_hop=server.address)
    mail_with(gateway, "alice@sender.test", "bob@good.test", harness.message(), "RET=FULL ENVID=x", "NOTIFY=NEVER ORCPT=rfc822;x@y.test")
    server.wait()
    assert not re.search("RET=|ENVID=", commands(server, "MAIL")[0]) and commands(server, "RCPT") == ["RCPT TO:<bob@good.test>"]


# CHUNKING

DOTS = ".\r\n..\r\n.a\r\n" + "x" * 5000 + "\r\n.\r\n"


@pytest.mark.parametrize("count", [1, 5000], ids=["small", "large"])
def test_2_31_content_by_bdat_is_not_stuffed(make_gateway, make_peer, count):
    server = make_peer(offers=ALL)
    gateway = make_gateway(next_hop=server.address)
    content = harness.message("dots", DOTS * count)
    send(gateway, content=content)
    (message,) = server.wait()
    _, rest = harness.split_received(message.raw)
    assert message.chunked and rest == content
    assert commands(server, "BDAT") == [f"BDAT {len(message.raw)} LAST"] and commands(server, "DATA") == []


def test_1_25_1_37_bdat_out_has_no_bare_cr_or_lf_and_a_last_line_end(make_gateway, make_peer):
    server = make_peer(offers=ALL)
    gateway = make_gateway(next_hop=server.address)
    with smtp.Client(gateway.address()) as c:
        c.ehlo()
        c.expect("MAIL FROM:<alice@sender.test>", 250)
        c.expect("RCPT TO:<bob@good.test>", 250)
        body = b"Subject: x\r\n\r\none\rtwo\nthree\r\r\nfour"
        c.send(b"BDAT %d LAST\r\n" % len(body) + body)
        assert c.read().code == 250
    (message,) = server.wait()
    assert not re.search(rb"\r(?!\n)|(?<!\r)\n", message.raw)
    assert message.raw.endswith(b"\r\n\r\none\r\ntwo\r\nthree\r\n\r\nfour\r\n")


def test_content_by_bdat_to_our_own_sink(make_gateway, sink):
    """The sink is the gateway's own server: it offers CHUNKING."""
    gateway = make_gateway(next_hop=sink.address)
    content = harness.message("dots", DOTS * 3000)
    send(gateway, content=content)
    assert sink.content(sink.wait()[0]).endswith(content)


# Pipelining


def test_pipelined_commands_come_in_one_piece_and_data_waits(make_gateway, make_peer):
    """RFC 2920: MAIL and RCPT together; DATA is not sent before the last of them was answered."""
    seen = []

    def answer(connection):
        """The replies to MAIL and two of three RCPTs; what comes before the last one, and then."""
        data = b""
        while data.count(b"\r\n") < 3:
            data += connection.recv(4096)
        connection.sendall(b"250 2.1.0 ok\r\n250 2.1.5 ok\r\n250 2.1.5 ok\r\n")
        seen.append(data)
        seen.append(quickly(connection))
        connection.sendall(b"250 2.1.5 ok\r\n")
        seen.append(connection.recv(4096))

    server = make_peer(starttls="absent", mail=answer, bytewise=True)
    gateway = make_gateway(next_hop=server.address, delivery=LATER)
    send(gateway, recipients=[f"{c}@good.test" for c in "abc"])
    gateway.tracked("deferred", sender="alice@sender.test")
    assert seen == [b"RCPT TO:<a@good.test>\r\nRCPT TO:<b@good.test>\r\nRCPT TO:<c@good.test>\r\n", b"", b"DATA\r\n"]


def quickly(connection):
    """What is there, or comes at once."""
    connection.settimeout(0.3)
    try:
        return connection.recv(4096)
    except TimeoutError:
        return b""
    finally:
        connection.settimeout(60)


def test_without_pipelining_every_command_waits(make_gateway, make_peer):
    seen = []
    server = make_peer(offers=("8BITMIME",), starttls="absent", mail=lambda connection: seen.append(quickly(connection)), bytewise=True)
    gateway = make_gateway(next_hop=server.address, delivery=LATER)
    send(gateway)
    gateway.tracked("deferred", sender="alice@sender.test")
    assert seen == [b""]
