"""Conformance 1d: TLS that is required or optional, failed handshakes, how many of them a client may have."""

import pytest

import harness
import smtp


def test_1_49_a_failed_handshake_is_logged_with_peer_and_reason(gateway):
    with smtp.Client(gateway.address()) as c:
        c.ehlo()
        c.expect("STARTTLS", 220)
        c.send(b"this is no ClientHello\r\nMAIL FROM:<evil@sender.test>\r\n")
        assert b"250" not in c.rest()

    def logged():
        return [line for line in gateway.stderr().splitlines() if line.split(" ")[0] != "session_start" and "tls" in line.lower()
            and "127.0.0.1" in line and "reason=" in line]

    harness.wait_for(lambda: "the handshake is logged\n" + gateway.stderr(), logged)
    assert gateway.track(sender="evil@sender.test") == []


def test_1_50_refusals_count_as_errors(make_gateway, sink):
    gateway = make_gateway(next_hop=sink.address, listener_tls="required", limits={"errors": 3})
    with smtp.Client(gateway.address()) as c:
        c.ehlo()
        for _ in range(3):
            c.expect("MAIL FROM:<a@sender.test>", 530, "5.7.0")
        c.expect("MAIL FROM:<a@sender.test>", 421, "4.7.0")
        c.expect_closed()


def test_1_50_octets_of_bdat_are_no_commands(make_gateway, sink):
    gateway = make_gateway(next_hop=sink.address, listener_tls="required")
    with smtp.Client(gateway.address()) as c:
        c.ehlo()
        c.send(b"BDAT 12 LAST\r\nNOOP\r\nNOOP\r\n")
        reply = c.read()
        assert (reply.code, reply.status) == (530, "5.7.0"), reply
        try:
            c.quit()
        except (smtp.Closed, OSError):
            pass  # it closed rather than read what it does not want


def test_1_51_tls_is_optional_on_a_public_listener_by_default(make_gateway, sink):
    configuration = harness.settings(next_hop=sink.address, mail_flow_policies=[{"name": "accepted"}])
    gateway = make_gateway(configuration)
    smtp.submit(gateway.address(), "clear@sender.test", "bob@good.test", harness.message(), tls=False)
    record = gateway.tracked("delivered", sender="clear@sender.test")
    assert record["inbound"]["tls"]["desired"] == "preferred"


def test_1_53_handshakes_are_limited_by_the_rate(make_gateway, sink):
    """One session has one handshake: the rate of connections is that of handshakes."""
    gateway = make_gateway(next_hop=sink.address, limits={"rate": 5})
    for _ in range(5):
        with smtp.Client(gateway.address()) as c:
            c.ehlo()
            c.starttls()
            c.ehlo()
            c.quit()
    with smtp.Client(gateway.address()) as c:
        reply = c.greeting
        if reply.code == 220:
            c.ehlo()
            reply = c.do("STARTTLS")
        assert (reply.code, reply.status) in ((421, "4.7.0"), (454, "4.7.0")), reply
    with smtp.Client(gateway.address(), source="127.0.9.9") as other:
        other.ehlo()
        other.starttls()


@pytest.mark.parametrize("mode", ["broken", "silent"])
def test_1_53_failed_handshakes_count(make_gateway, sink, mode):
    gateway = make_gateway(next_hop=sink.address, limits={"rate": 5})
    for _ in range(5):
        with smtp.Client(gateway.address()) as c:
            c.ehlo()
            c.expect("STARTTLS", 220)
            if mode == "broken":
                c.send(b"no ClientHello\r\n")
                c.rest()
    with smtp.Client(gateway.address()) as c:
        assert (c.greeting.code, c.greeting.status) == (421, "4.7.0"), c.greeting
