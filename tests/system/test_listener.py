"""STARTTLS on listeners: B22-B27 and table B35 of the requirements, section 1 of the conformance statements."""

import pytest

import harness
import smtp


@pytest.fixture
def listener(make_gateway, sink):
    """listener(tls) -> address of a listener with that level."""

    def make(tls, **more):
        make.gateway = make_gateway(next_hop=sink.address, listener_tls=tls, **more)
        return make.gateway.address()

    return make


# B35, level "none"


def test_B23_B35_none_offers_nothing(listener):
    with smtp.Client(listener("none")) as c:
        assert "STARTTLS" not in c.ehlo().offers
        c.expect("STARTTLS", 502, "5.5.1")
        assert c.mail("a@sender.test", "bob@good.test", harness.message()).status == "2.0.0"
        c.quit()


def test_B35_without_a_certificate_nothing_is_offered(make_gateway, sink):
    configuration = harness.settings(next_hop=sink.address, listener_tls="none")
    del configuration["listeners"][0]["certificate"]
    with smtp.Client(make_gateway(configuration).address()) as c:
        assert "STARTTLS" not in c.ehlo().offers
        c.expect("STARTTLS", 502, "5.5.1")
        c.quit()


# B35, level "preferred"


def test_B24_B35_preferred_takes_mail_in_clear(listener, sink):
    with smtp.Client(listener("preferred")) as c:
        assert "STARTTLS" in c.ehlo().offers
        c.mail("clear@sender.test", "bob@good.test", harness.message())
        c.quit()
    record = listener.gateway.tracked("delivered", sender="clear@sender.test")
    tls = record["inbound"]["tls"]
    assert (tls["desired"], tls["obtained"], tls["protocol"]) == ("preferred", "none", None)


def test_B35_preferred_with_tls(listener):
    smtp.submit(listener("preferred"), "tls@sender.test", "bob@good.test", harness.message())
    record = listener.gateway.tracked("delivered", sender="tls@sender.test")
    assert record["inbound"]["tls"]["obtained"] == "encrypted"
    assert record["inbound"]["tls"]["cipher"]


# B35, level "required"


@pytest.mark.parametrize("command", ["HELO client.sender.test", "MAIL FROM:<a@sender.test>", "RCPT TO:<b@good.test>",
    "DATA", "RSET", "HELP", "VRFY bob", "AUTH PLAIN AGEAYg==", "EXPN staff", "FOO"])
def test_B25_1_50_required_refuses_in_clear(listener, command):
    with smtp.Client(listener("required")) as c:
        c.expect(command, 530, "5.7.0")
        c.ehlo()
        c.expect(command, 530, "5.7.0")
        c.quit()


def test_B25_B35_required_lets_noop_ehlo_and_quit_pass(listener):
    with smtp.Client(listener("required")) as c:
        c.expect("NOOP", 250, "2.0.0")
        assert "STARTTLS" in c.ehlo().offers
        c.expect("NOOP", 250, "2.0.0")
        c.quit()


def test_B35_required_with_tls(listener):
    smtp.submit(listener("required"), "must@sender.test", "bob@good.test", harness.message())
    record = listener.gateway.tracked("delivered", sender="must@sender.test")
    assert record["inbound"]["tls"]["desired"] == "required"
    assert record["inbound"]["tls"]["obtained"] == "encrypted"


def test_B25_nothing_that_was_said_in_clear_counts_after_tls(listener):
    with smtp.Client(listener("required")) as c:
        c.ehlo()
        c.expect("MAIL FROM:<a@sender.test>", 530, "5.7.0")
        c.starttls()
        c.ehlo()
        c.expect("RCPT TO:<bob@good.test>", 503, "5.5.1")
        c.quit()


# The handshake fails


@pytest.mark.parametrize("level", ["preferred", "required"])
def test_B35_1_49_failed_handshake_closes(listener, level):
    address = listener(level)
    with smtp.Client(address) as c:
        c.ehlo()
        c.expect("STARTTLS", 220)
        c.send(b"this is not a ClientHello\r\nMAIL FROM:<evil@sender.test>\r\n")
        assert b"250" not in c.rest()
    harness.wait_for("the failed handshake is logged", lambda: "tls" in listener.gateway.stderr().lower())
    smtp.submit(address, "next@sender.test", "bob@good.test", harness.message())


# STARTTLS itself


def test_B26_1_47_ehlo_again_and_no_second_offer(listener):
    with smtp.Client(listener("preferred")) as c:
        c.ehlo()
        c.starttls()
        c.expect("MAIL FROM:<a@sender.test>", 503, "5.5.1")
        assert "STARTTLS" not in c.ehlo().offers
        c.mail("a@sender.test", "bob@good.test", harness.message())
        c.quit()


def test_1_47_transaction_is_forgotten(listener):
    with smtp.Client(listener("preferred")) as c:
        c.ehlo()
        c.expect("MAIL FROM:<a@sender.test>", 250)
        c.expect("RCPT TO:<bob@good.test>", 250)
        c.starttls()
        c.ehlo()
        c.expect("DATA", 503, "5.5.1")
        c.quit()


@pytest.mark.parametrize("level", ["preferred", "required"])
def test_B27_1_48_starttls_with_a_parameter(listener, level):
    with smtp.Client(listener(level)) as c:
        c.ehlo()
        c.expect("STARTTLS foo", 501, "5.5.4")
        c.starttls()
        c.ehlo()
        c.quit()


def test_1_48_second_starttls(listener):
    with smtp.Client(listener("preferred")) as c:
        c.ehlo()
        c.starttls()
        c.expect("STARTTLS", 503, "5.5.1")
        c.ehlo()
        c.expect("STARTTLS", 503, "5.5.1")
        c.mail("a@sender.test", "bob@good.test", harness.message())
        c.quit()


@pytest.mark.parametrize("level", ["preferred", "required"])
def test_1_46_bytes_behind_starttls_in_the_same_segment(listener, level):
    with smtp.Client(listener(level)) as c:
        c.ehlo()
        c.send(b"STARTTLS\r\nMAIL FROM:<evil@sender.test>\r\nRCPT TO:<bob@good.test>\r\n")
        c.expect_closed()  # no 220, no other word
    assert listener.gateway.track(sender="evil@sender.test") == []


def test_1_46_bytes_behind_starttls_are_not_executed_in_tls(listener):
    """The bytes come before the 220 is read; a server that keeps them would run them inside TLS."""
    with smtp.Client(listener("preferred")) as c:
        c.ehlo()
        c.send(b"STARTTLS\r\nNOOP\r\n")
        try:
            reply = c.read()
        except smtp.Closed:
            return
        assert reply.code in (220, 421, 501, 503, 554), reply
        c.expect_closed()


def test_1_46_clear_bytes_between_220_and_handshake(listener):
    with smtp.Client(listener("preferred")) as c:
        c.ehlo()
        c.expect("STARTTLS", 220)
        c.send(b"MAIL FROM:<evil@sender.test>\r\n")
        assert b"250" not in c.rest()


def test_counters_tell_tls_by_version(listener):
    address = listener("preferred")
    smtp.submit(address, "one@sender.test", "bob@good.test", harness.message())
    smtp.submit(address, "two@sender.test", "bob@good.test", harness.message(), tls=False)
    listener.gateway.tracked("delivered", count=2, recipient="bob@good.test")

    def counted():
        counters = listener.gateway.counters()
        return counters if counters["delivered"] == 2 and counters["accepted"] == 2 else None

    counters = harness.wait_for("both are counted", counted)
    assert counters["tls_in"].get("TLSv1.3") == 1
    assert counters["tls_out"].get("TLSv1.3", 0) >= 1
    assert counters["queued"] == 0
