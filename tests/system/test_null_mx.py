"""Domains that say in the DNS that they take no mail (`MX 0 .`, RFC 7505): refused while the client can still be told. Conformance 1.67."""

import os
import signal

import pytest

import dns
import harness
import smtp

NULL = "@ MX 0 .\n@ A 127.0.0.2"
RECIPIENT, SENDER = "556 5.1.10 the domain takes no mail (null MX)", "550 5.7.27 the domain of the sender takes no mail (null MX)"


def outward(names, port=25, policy={}, **more):
    """A gateway that relays for loopback, by MX on `port`."""
    return harness.settings(**{
        "dns": names,
        "listeners": [{"name": "inbound", "type": "private", "address": "127.0.0.1:0", "certificate": "main", "policy": "out"}],
        "mail_flow_policies": [{"name": "out", "action": "relay", "tls": "preferred", **policy}],
        "accepted_domains": None, "routes": None, "delivery": {"retry": ["1h"], "port": port}, **more})


@pytest.fixture
def zones():
    """null.test with a null MX, and good.test; the section `dns`."""
    with dns.Server({"null.test": dns.Zone(NULL), "good.test": dns.Zone("@ MX 10 mx1\nmx1 A 127.0.0.1")}) as server:
        yield server.settings()


@pytest.fixture
def silent():
    """A name server that says nothing of names with `silent` in them, and of others that they have a null MX; its questions last a minute."""
    def script(question):
        if "silent" in question.name:
            return None
        return question.answer([dns.record(question.name, "MX", dns.mx(0, "."))] if question.type == "MX" else [])

    with dns.Scripted(script) as server:
        server.slow = server.settings(timeout="60s")
        yield server


def begin(gateway, sender="alice@good.test"):
    c = smtp.Client(gateway.address())
    c.ehlo()
    if sender is not None:
        c.expect(f"MAIL FROM:<{sender}>", 250, "2.1.0")
    return c


def refusals(gateway, event):
    return [line for line in gateway.stderr().splitlines() if f" {event} " in line]


def test_1_67_a_recipient_whose_domain_takes_no_mail_is_refused(make_gateway, make_peer, zones):
    """At RCPT, so that there is nothing to return; the other recipients get the mail."""
    peer = make_peer()
    gateway = make_gateway(outward(zones, peer.port))
    with begin(gateway) as c:
        for recipient in ("bob@null.test", "postmaster@NULL.test"):
            assert c.do(f"RCPT TO:<{recipient}>").text == RECIPIENT
        c.expect("RCPT TO:<bob@good.test>", 250, "2.1.5")
        assert c.data(harness.message()).code == 250
        c.quit()
    (message,) = peer.wait()
    assert message.recipients == ["bob@good.test"]
    first, second = refusals(gateway, "recipient_refused")
    assert "recipient=bob@null.test" in first and f'reply="{RECIPIENT}"' in first and 'reason="the domain takes no mail (null MX)"' in first
    assert "recipient=postmaster@NULL.test" in second
    record = gateway.tracked("refused", recipient="bob@null.test")
    assert record["recipients"][0]["attempts"][-1]["reply"] == RECIPIENT
    assert gateway.counters()["rejected_by"]["recipient"] == 2


def test_1_67_a_sender_whose_domain_takes_no_mail_is_refused(make_gateway, sink, zones):
    """Also to domains with a route; the session goes on."""
    gateway = make_gateway(harness.settings(next_hop=sink.address, dns=zones))
    with begin(gateway, None) as c:
        assert c.do("MAIL FROM:<alice@null.test>").text == SENDER
        c.expect("RCPT TO:<bob@good.test>", 503, "5.5.1")
        c.mail("alice@good.test", "bob@good.test", harness.message())
        c.mail("", "bob@good.test", harness.message())
        c.quit()
    assert sorted(m["sender"] for m in sink.wait(2)) == ["", "alice@good.test"]
    (line,) = refusals(gateway, "mail_refused")
    assert "sender=alice@null.test" in line and f'reply="{SENDER}"' in line and 'reason="the domain takes no mail (null MX)"' in line
    (record,) = harness.wait_for("it is tracked", lambda: gateway.track(sender="alice@null.test"))
    assert SENDER in str(record), record
    assert gateway.counters()["rejected_by"]["sender"] == 1


def test_1_67_refused_senders_come_to_an_end(make_gateway, zones):
    gateway = make_gateway(harness.settings(dns=zones, limits={"errors": 1}))
    with begin(gateway, None) as c:
        for _ in range(10):
            c.expect("MAIL FROM:<alice@null.test>", 550, "5.7.27")
        c.expect("MAIL FROM:<alice@null.test>", 421, "4.7.0")
        c.expect_closed()


def test_1_67_2_01_a_null_mx_beside_others_is_ignored(make_gateway, make_peer):
    """The `.` record counts for nothing, the other is used: for the sender, at RCPT and in the delivery."""
    peer = make_peer()
    with dns.Server({"both.test": dns.Zone("@ MX 0 .\n@ MX 10 mx1\nmx1 A 127.0.0.1")}) as server:
        gateway = make_gateway(outward(server.settings(), peer.port))
        smtp.submit(gateway.address(), "alice@both.test", "bob@both.test", harness.message())
        record = gateway.tracked("delivered", recipient="bob@both.test")
    assert record["recipients"][0]["attempts"][-1]["host"] == "mx1.both.test"
    assert len(peer.messages) == 1


def test_1_67_a_policy_may_let_such_senders_through(make_gateway, make_peer, zones):
    """Systems of our own may send so. What cannot be reported to them is dropped: the report meets the null MX itself."""
    peer = make_peer(rcpt="550 5.1.1 no such user")
    gateway = make_gateway(outward(zones, peer.port, policy={"refuse_null_mx": "off"}))
    smtp.submit(gateway.address(), "alice@null.test", "bob@good.test", harness.message())
    gateway.tracked("bounced", recipient="bob@good.test")
    report = gateway.tracked("bounced", recipient="alice@null.test")
    assert report["recipients"][0]["attempts"][-1]["reply"] == RECIPIENT
    with begin(gateway) as c:
        c.expect("RCPT TO:<bob@null.test>", 556, "5.1.10")


@pytest.mark.parametrize("kind", [dns.BOGUS, dns.EXPIRED])
def test_1_67_an_answer_that_cannot_be_believed_refuses_nothing(make_gateway, kind):
    with dns.Server({"null.test": dns.Zone(NULL, kind)}) as server:
        gateway = make_gateway(outward(server.settings()))
        smtp.submit(gateway.address(), "alice@null.test", "bob@null.test", harness.message())
        gateway.tracked("deferred", recipient="bob@null.test")


def test_1_67_a_silent_dns_refuses_nothing_and_is_waited_for_once_a_mail(make_gateway, silent):
    """The first question uses up the time of the mail: the other addresses ask nothing more, and all are taken."""
    gateway = make_gateway(outward(silent.slow))
    with begin(gateway, "alice@silent1.test") as c:
        for n in range(2, 9):
            c.expect(f"RCPT TO:<bob@silent{n}.test>", 250, "2.1.5")
        c.expect("RCPT TO:<bob@null.test>", 250, "2.1.5")
        names = {name for name, type in silent.asked if type == "MX"}
        assert names == {"silent1.test"}, names
        c.expect("RSET", 250)
        c.expect("MAIL FROM:<>", 250)
        c.expect("RCPT TO:<bob@null.test>", 556, "5.1.10")


def test_1_67_without_an_answering_resolver_mail_is_taken(make_gateway, silent):
    gateway = make_gateway(outward(silent.slow))
    resolver = gateway.roles()["resolver"]["pid"]
    os.kill(resolver, signal.SIGSTOP)
    try:
        with begin(gateway, "alice@null.test") as c:
            c.expect("RCPT TO:<bob@null.test>", 250, "2.1.5")
    finally:
        os.kill(resolver, signal.SIGCONT)


def test_1_67_the_dns_is_asked_only_where_it_decides(make_gateway, silent):
    """Not for the null sender, address literals, and domains with a route (to a host or to MX records)."""
    gateway = make_gateway(outward(silent.slow, accepted_domains=["good.test"], routes=[
        {"domain": "good.test", "next_hop": "127.0.0.1:9"}, {"domain": ".routed.test", "next_hop": "mx:silent.test"}]))
    for sender in ("", "alice@[192.0.2.1]", "alice@[IPv6:2001:db8::1]", "alice@good.test", "alice@a.routed.test"):
        with begin(gateway, sender) as c:
            for recipient in ("bob@good.test", "bob@[127.0.0.2]", "bob@a.routed.test", "postmaster"):
                c.expect(f"RCPT TO:<{recipient}>", 250, "2.1.5")
            c.expect("RSET", 250)
    assert silent.asked == []
