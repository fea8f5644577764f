"""Conformance 10e: the client's address from a load balancer (PROXY protocol) or another mail server (XCLIENT)."""

import ipaddress
import struct

import pytest

import harness
import smtp

SIGNATURE = b"\r\n\r\n\x00\r\nQUIT\n"
PROXY, LOCAL = 0x21, 0x20
TRUSTED, STRANGER = "127.0.0.1", "127.0.0.2"


def v1(client="192.0.2.7", family="TCP4", server="198.51.100.1"):
    return f"PROXY {family} {client} {server} 56324 25\r\n".encode()


def v2(client="192.0.2.7", command=PROXY, family=None, more=b"", length=None):
    address = ipaddress.ip_address(client)
    block = address.packed + bytes(len(address.packed)) + struct.pack(">HH", 56324, 25) + more
    family = family if family is not None else 0x11 if address.version == 4 else 0x21
    return SIGNATURE + bytes([command, family]) + struct.pack(">H", len(block) if length is None else length) + block


def tlv(kind, value, length=None):
    return bytes([kind]) + struct.pack(">H", len(value) if length is None else length) + value


def settings(sink, **listener):
    """Relaying for 192.0.2.0/24 only: who is believed to be there may send anywhere."""
    base = harness.settings(next_hop=sink.address,
        sender_groups=[{"name": "ours", "networks": ["192.0.2.0/24"], "policy": "relayed"}],
        mail_flow_policies=[{"name": "accepted"}, {"name": "relayed", "action": "relay"}],
        routes=[{"domain": "default", "next_hop": sink.address}])
    base["listeners"][0].update(listener)
    return base


@pytest.fixture
def proxied(make_gateway, sink):
    """A gateway that believes PROXY headers from TRUSTED."""
    return make_gateway(settings(sink, proxy_protocol_from=[TRUSTED]))


def client_of(gateway, sender="a@sender.test"):
    """The address of the client as it was recorded."""
    return gateway.tracked("delivered", sender=sender)["inbound"]["client"]


def expect_refused(client):
    """No session: nothing, or at most a greeting and a refusal, and then the end."""
    replies = client.last_words()
    assert all(r.code == 220 or r.code >= 400 for r in replies) and [r.code for r in replies].count(220) <= 1, replies
    assert not replies or replies[-1].code >= 400, replies


# PROXY


@pytest.mark.parametrize("header,client", [
    (v1(), "192.0.2.7"),
    (v1("2001:db8::7", "TCP6", "2001:db8::1"), "2001:db8::7"),
    (v2(), "192.0.2.7"),
    (v2("2001:db8::7"), "2001:db8::7"),
    (v2(more=tlv(0x04, b"") + tlv(0xEA, b"x" * 100)), "192.0.2.7"),
    (b"PROXY UNKNOWN\r\n", "127.0.0.1"),
    (b"PROXY UNKNOWN ffff::1 ffff::2 1 2\r\n", "127.0.0.1"),
    (v2(command=LOCAL), "127.0.0.1"),
    (SIGNATURE + bytes([LOCAL, 0, 0, 0]), "127.0.0.1"),
    (SIGNATURE + bytes([PROXY, 0x31]) + struct.pack(">H", 216) + b"/run/x".ljust(216, b"\0"), "127.0.0.1"),
], ids=["v1", "v1 IPv6", "v2", "v2 IPv6", "v2 TLVs", "v1 UNKNOWN", "v1 UNKNOWN with text", "v2 LOCAL", "v2 LOCAL, empty", "v2 UNIX"])
@pytest.mark.parametrize("split", [False, True], ids=["whole", "byte by byte"])
def test_10_31_a_header_from_the_trusted_source(proxied, sink, header, client, split):
    if split:
        c = smtp.Client(proxied.address(), greet=False)
        for n in range(len(header)):
            c.send(header[n:n + 1])
        c.greeting = c.read()
    else:
        c = smtp.Client(proxied.address(), before=header)
    with c:
        assert c.greeting.code == 220
        c.ehlo()
        c.mail("a@sender.test", "bob@good.test", harness.message())
        c.quit()
    recorded = client_of(proxied)
    assert recorded == client or recorded.startswith((client + ":", f"[{client}]")), recorded
    assert client in harness.split_received(sink.content(sink.wait()[0]))[0]


def test_10_31_the_policy_is_that_of_the_client_behind(proxied, sink):
    for address, code in (("192.0.2.7", 250), ("203.0.113.7", 550)):
        with smtp.Client(proxied.address(), before=v1(address)) as c:
            c.ehlo()
            c.expect("MAIL FROM:<a@sender.test>", 250)
            c.expect("RCPT TO:<x@elsewhere.test>", code)
            c.quit()


BAD = {
    "no header": b"EHLO client.sender.test\r\n",
    "v1 over 107 octets": b"PROXY TCP6 " + b"0" * 100 + b" ::1 1 2\r\n",
    "v1 without end": b"PROXY UNKNOWN " + b"x" * 200,
    "v1 unknown family": v1(family="TCP5"),
    "v1 bare LF": v1().replace(b"\r\n", b"\n"),
    "v1 address of the other family": v1("2001:db8::7", "TCP4"),
    "v1 no address": b"PROXY TCP4\r\n",
    "v1 bad port": b"PROXY TCP4 192.0.2.7 198.51.100.1 99999 25\r\n",
    "v1 more text": b"PROXY TCP4 192.0.2.7 198.51.100.1 1 2 3\r\n",
    "v1 octal address": b"PROXY TCP4 192.0.02.7 198.51.100.1 1 2\r\n",
    "v1 lower case": b"proxy TCP4 192.0.2.7 198.51.100.1 1 2\r\n",
    "v2 unknown version": v2(command=0x31),
    "v2 unknown command": v2(command=0x2F),
    "v2 unknown family": v2(family=0x51),
    "v2 too short": SIGNATURE + bytes([PROXY, 0x11]) + struct.pack(">H", 4) + b"\xc0\x00\x02\x07",
    "v2 TLV over the end": v2(more=tlv(0x04, b"abc", 500)),
    "v2 half a TLV": v2(more=b"\x04\x00"),
    "v2 of 65535 octets of nonsense": v2(length=65535, more=b"\xff" * (65535 - 12)),
    "v2 broken signature": v2().replace(b"QUIT", b"QUID"),
}


@pytest.mark.parametrize("name", BAD)
def test_10_31_a_malformed_header_closes(proxied, sink, name):
    follows = b"EHLO x\r\nMAIL FROM:<evil@sender.test>\r\nRCPT TO:<bob@good.test>\r\n"
    with smtp.Client(proxied.address(), greet=False) as c:
        try:
            c.send(BAD[name] + follows)
        except OSError:
            pass
        expect_refused(c)
    with smtp.Client(proxied.address(), before=v1()) as c:
        c.ehlo()
        c.quit()


def test_10_31_a_second_header_closes(proxied):
    with smtp.Client(proxied.address(), greet=False, before=v1() + v1("203.0.113.9")) as c:
        expect_refused(c)
    with smtp.Client(proxied.address(), before=v1()) as c:
        c.send(v1("203.0.113.9"))
        expect_refused(c)


@pytest.mark.parametrize("header", [v1(), v2()], ids=["v1", "v2"])
def test_10_31_a_header_from_a_stranger(proxied, header):
    with smtp.Client(proxied.address(), greet=False, source=STRANGER) as c:
        c.send(header + b"EHLO x\r\n")
        expect_refused(c)
    with smtp.Client(proxied.address(), source=STRANGER) as c:
        c.send(header)
        expect_refused(c)


def test_10_31_a_stranger_without_a_header_is_a_client(proxied):
    with smtp.Client(proxied.address(), source=STRANGER) as c:
        c.ehlo()
        c.expect("MAIL FROM:<a@sender.test>", 250)
        c.expect("RCPT TO:<x@elsewhere.test>", 550)
        c.quit()


@pytest.mark.parametrize("header", [v1(), v2()], ids=["v1", "v2"])
def test_10_31_a_header_where_none_is_expected(make_gateway, sink, header):
    gateway = make_gateway(settings(sink))
    with smtp.Client(gateway.address()) as c:
        c.send(header)
        expect_refused(c)
    with smtp.Client(gateway.address(), greet=False) as c:
        c.send(header)
        expect_refused(c)


def test_10_31_a_header_that_does_not_come(proxied):
    """The trusted source has five seconds for it, whatever it sends meanwhile; no greeting was sent."""
    parts = (b"", b"PROXY TCP4 192.0.2.7", v2()[:20])
    clients = [smtp.Client(proxied.address(), greet=False, before=part) for part in parts]
    for c in clients:
        with c:
            assert b"220" not in c.rest()


def test_10_32_first_the_header_then_tls(proxied, sink):
    with smtp.Client(proxied.address(), before=v2()) as c:
        c.ehlo()
        c.starttls()
        c.ehlo()
        c.expect("MAIL FROM:<a@sender.test>", 250)
        c.expect("RCPT TO:<x@elsewhere.test>", 250)
        assert c.data(harness.message()).code == 250
        c.quit()
    record = proxied.tracked("delivered", sender="a@sender.test")
    assert record["inbound"]["client"].startswith("192.0.2.7")
    assert record["inbound"]["tls"]["obtained"] == "encrypted"


def test_10_31_limits_count_the_client_behind(make_gateway, sink):
    gateway = make_gateway(dict(settings(sink, proxy_protocol_from=[TRUSTED]), limits={"connections_per_network": 1}))
    with smtp.Client(gateway.address(), before=v1("192.0.2.7")) as one, \
            smtp.Client(gateway.address(), before=v1("203.0.113.7")) as two:
        one.ehlo()
        two.ehlo()
        with smtp.Client(gateway.address(), before=v1("192.0.2.8")) as three:
            assert three.greeting.code == 421, three.greeting


# XCLIENT


@pytest.fixture
def trusting(make_gateway, sink):
    """A gateway that takes XCLIENT from TRUSTED."""
    return make_gateway(settings(sink, xclient_from=[TRUSTED]))


def test_10_33_a_stranger_may_not(trusting):
    with smtp.Client(trusting.address(), source=STRANGER) as c:
        assert "XCLIENT" not in c.ehlo().offers
        c.expect("XCLIENT ADDR=192.0.2.9", 550, "5.7.0")
        c.expect("MAIL FROM:<a@sender.test>", 250)
        c.expect("RCPT TO:<x@elsewhere.test>", 550)
        c.quit()


def test_10_33_nobody_may_without_the_setting(gateway):
    with smtp.Client(gateway.address()) as c:
        assert "XCLIENT" not in c.ehlo().offers
        c.expect("XCLIENT ADDR=192.0.2.9", 550, "5.7.0")
        c.quit()


def test_10_33_not_in_a_transaction(trusting):
    with smtp.Client(trusting.address()) as c:
        assert {"ADDR", "NAME"} <= set(c.ehlo().offers["XCLIENT"].split())
        c.expect("MAIL FROM:<a@sender.test>", 250)
        c.expect("XCLIENT ADDR=192.0.2.9", 503, "5.5.1")
        c.expect("RCPT TO:<x@elsewhere.test>", 550)
        c.expect("RCPT TO:<bob@good.test>", 250)
        c.quit()


@pytest.mark.parametrize("arguments", ["NAME=foo+0D+0ABAR", "NAME=foo+00", "NAME=foo+1B", "ADDR=192.0.2.999", "ADDR=evil", "ADDR=",
    "NAME=+4", "NAME=a=b", "FOO=bar", "ADDR", "", "ADDR=IPV6:zz", "PORT=99999", "NAME=foo+20bar", "HELO=a+0Ab"])
def test_10_33_bad_attributes(trusting, arguments):
    with smtp.Client(trusting.address()) as c:
        c.ehlo()
        reply = c.do(f"XCLIENT {arguments}".rstrip())
        assert (reply.code, reply.status) == (501, "5.5.4"), reply
        c.expect("MAIL FROM:<a@sender.test>", 250)
        c.expect("RCPT TO:<x@elsewhere.test>", 550)
        c.quit()


@pytest.mark.parametrize("address,attribute", [("192.0.2.9", "192.0.2.9"), ("2001:db8::9", "IPV6:2001:db8::9")])
def test_10_33_the_named_client_counts(trusting, sink, address, attribute):
    with smtp.Client(trusting.address()) as c:
        c.ehlo()
        c.expect(f"XCLIENT NAME=client.example ADDR={attribute}", 220)
        c.expect("MAIL FROM:<a@sender.test>", 503, "5.5.1")  # the session begins again
        c.ehlo()
        c.expect("MAIL FROM:<a@sender.test>", 250)
        c.expect("RCPT TO:<x@elsewhere.test>", 250 if address.startswith("192.0.2.") else 550)
        c.expect("RCPT TO:<bob@good.test>", 250)
        assert c.data(harness.message()).code == 250
        c.quit()
    harness.wait_for("the mail came", lambda: sink.messages)
    assert all(r["inbound"]["client"].strip("[").startswith(address) for r in trusting.track(sender="a@sender.test"))
    assert address in harness.split_received(sink.content(sink.messages[0]))[0]


def test_10_33_unavailable_values(trusting):
    with smtp.Client(trusting.address()) as c:
        c.ehlo()
        c.expect("XCLIENT NAME=[UNAVAILABLE] ADDR=203.0.113.9", 220)
        c.ehlo()
        c.expect("XCLIENT NAME=[TEMPUNAVAIL]", 220)
        c.quit()


def test_10_33_the_named_client_is_trusted_no_more(trusting):
    """Trust belongs to the connection's own address or to nobody: a named stranger must not go on naming."""
    with smtp.Client(trusting.address()) as c:
        c.ehlo()
        c.expect("XCLIENT ADDR=203.0.113.9", 220)
        c.ehlo()
        c.expect("MAIL FROM:<a@sender.test>", 250)
        c.expect("RCPT TO:<x@elsewhere.test>", 550)
        c.quit()
