"""Conformance 1d: TLS that is required or optional, failed handshakes, how many of them a client may have."""

import subprocess

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


def codes_of_starttls(gateway, count, source=None):
    """The replies' codes to STARTTLS of so many sessions; what hears 220 shakes hands."""
    codes = []
    for _ in range(count):
        with smtp.Client(gateway.address(), source=source) as c:
            c.ehlo()
            reply = c.do("STARTTLS")
            assert reply.code == 220 or (reply.code, reply.status) == (454, "4.7.0"), reply
            codes.append(reply.code)
            if reply.code == 220:
                c.handshake()
                c.ehlo()
            c.quit()
    return codes


def test_1_53_handshakes_are_limited_by_the_rate(make_gateway, sink):
    gateway = make_gateway(next_hop=sink.address, limits={"tls_rate": 5})
    assert codes_of_starttls(gateway, 8) == [220] * 5 + [454] * 3
    assert codes_of_starttls(gateway, 1, source="127.0.0.77") == [454], "the same network"
    assert codes_of_starttls(gateway, 2, source="127.0.9.9") == [220] * 2, "another one"
    refused = [line for line in gateway.stderr().splitlines() if " tls_refused " in line]
    assert len(refused) == 4 and all("client=127.0.0." in line and "limits.tls_rate" in line for line in refused), refused


def test_1_53_after_454_the_session_goes_on(make_gateway, sink):
    """In clear where that is allowed, and not where it is not; another STARTTLS is refused the same way."""
    policies = [{"name": "accepted", "tls": "preferred"}, {"name": "strict", "tls": "required"}]
    gateway = make_gateway(next_hop=sink.address, limits={"tls_rate": 1}, mail_flow_policies=policies,
        sender_groups=[{"name": "strict", "networks": ["127.0.0.77"], "policy": "strict"}])
    assert codes_of_starttls(gateway, 1) == [220]
    with smtp.Client(gateway.address()) as c:
        assert "STARTTLS" in c.ehlo().offers
        c.expect("STARTTLS", 454, "4.7.0")
        c.expect("STARTTLS", 454, "4.7.0")
        c.mail("clear@sender.test", "bob@good.test", harness.message())
        c.quit()
    with smtp.Client(gateway.address(), source="127.0.0.77") as c:
        c.ehlo()
        c.expect("STARTTLS", 454, "4.7.0")
        c.expect("MAIL FROM:<a@sender.test>", 530, "5.7.0")
        c.quit()
    record = gateway.tracked("delivered", sender="clear@sender.test")
    assert record["inbound"]["tls"]["obtained"] != "encrypted"


def test_1_53_the_rate_follows_a_reload(make_gateway, sink):
    gateway = make_gateway(next_hop=sink.address)
    assert codes_of_starttls(gateway, 10) == [220] * 10, "no limit unless there is one"
    gateway.configure(harness.settings(next_hop=sink.address, limits={"tls_rate": 2}))
    assert gateway.command("reload").returncode == 0
    assert codes_of_starttls(gateway, 3) == [220] * 2 + [454]


def test_1_53_the_client_behind_a_proxy_is_counted(make_gateway, sink):
    """By its own network, not that of the load balancer; XCLIENT changes nothing."""
    configuration = harness.settings(next_hop=sink.address, limits={"tls_rate": 1})
    configuration["listeners"][0].update(proxy_protocol_from=["127.0.0.1"], xclient_from=["203.0.113.0/24"])
    gateway = make_gateway(configuration)

    def starttls(client, *commands):
        with smtp.Client(gateway.address(), before=f"PROXY TCP4 {client} 198.51.100.1 4000 25\r\n".encode()) as c:
            c.ehlo()
            for command in commands:
                c.expect(command, 220)
            return c.do("STARTTLS").code

    assert [starttls("192.0.2.1"), starttls("192.0.2.2"), starttls("198.51.100.7")] == [220, 454, 220]
    assert starttls("203.0.113.1", "XCLIENT ADDR=192.0.2.1") == 220
    assert starttls("203.0.113.1", "XCLIENT ADDR=10.0.0.1") == 454


def test_1_53_connections_are_limited_by_their_own_rate(make_gateway, sink):
    """One session has one handshake at most: the rate of connections bounds that of handshakes."""
    gateway = make_gateway(next_hop=sink.address, limits={"rate": 5})
    assert codes_of_starttls(gateway, 5) == [220] * 5
    with smtp.Client(gateway.address()) as c:
        assert (c.greeting.code, c.greeting.status) == (421, "4.7.0"), c.greeting
    assert codes_of_starttls(gateway, 1, source="127.0.9.9") == [220]


@pytest.mark.parametrize("mode", ["broken", "silent"])
def test_1_53_failed_handshakes_count(make_gateway, sink, mode):
    gateway = make_gateway(next_hop=sink.address, limits={"tls_rate": 5})
    for _ in range(5):
        with smtp.Client(gateway.address()) as c:
            c.ehlo()
            c.expect("STARTTLS", 220)
            if mode == "broken":
                c.send(b"no ClientHello\r\n")
                c.rest()
    assert codes_of_starttls(gateway, 1) == [454]


def test_1_53_what_is_refused_otherwise_is_no_handshake(make_gateway, sink):
    gateway = make_gateway(next_hop=sink.address, limits={"tls_rate": 1})
    with smtp.Client(gateway.address()) as c:
        c.ehlo()
        c.expect("STARTTLS now", 501)
        c.starttls()
        c.ehlo()
        c.expect("STARTTLS", 503)
        c.quit()
    assert codes_of_starttls(gateway, 1) == [454]


def s_client(gateway, *options, words=""):
    host, port = gateway.address()
    done = subprocess.run(["openssl", "s_client", "-starttls", "smtp", "-connect", f"{host}:{port}", *options], input=words, capture_output=True,
        text=True, timeout=harness.PATIENCE, env=harness.environment())
    return done.stdout + done.stderr


def test_8_15_no_early_data_is_taken(gateway):
    said = s_client(gateway, "-tls1_3", "-crlf", "-ign_eof", words="ehlo client.test\nquit\n")
    assert "Post-Handshake New Session Ticket arrived" in said and "Max Early Data: 0" in said, said


def test_8_16_renegotiation_is_refused(gateway):
    """`R` at the beginning of a line makes s_client try it."""
    said = s_client(gateway, "-tls1_2", words="R\n")
    assert "RENEGOTIATING" in said and "no renegotiation" in said, said
    assert said.count("Certificate chain") <= 1
