"""`postern report tls` (B57): real mail both ways, and the numbers that must come out."""

import json
import socket

import pytest

import harness
import smtp


def sums(half):
    return tuple(half[key] for key in ("mails", "in_tls", "verified", "in_clear", "failed"))


def report(gateway, *arguments):
    return gateway.json("report", "tls", *arguments)


@pytest.fixture
def day(make_gateway, make_peer):
    """Four mails in TLS and one in clear come in; they go to a server with TLS, to one without, and to one without where it is required. Two clients fail."""
    secure, clear, poor = make_peer(), make_peer(starttls="absent"), make_peer(starttls="absent")
    gateway = make_gateway(accepted_domains=["secure.test", "clear.test", "must.test"],
        routes=[{"domain": d, "next_hop": p.address} for d, p in (("secure.test", secure), ("clear.test", clear), ("must.test", poor))],
        destinations=[{"domain": "default", "tls": "preferred"}, {"domain": "must.test", "tls": "required"}],
        mail_flow_policies=[{"name": "accepted", "tls": "preferred"}, {"name": "strict", "tls": "required"}],
        listeners=[{"name": name, "type": "public", "address": "127.0.0.1:0", "certificate": "main", "policy": policy}
            for name, policy in (("inbound", "accepted"), ("strict", "strict"))], delivery={"retry": ["1h"]})
    for recipients in (["a@secure.test", "b@secure.test"], ["a@clear.test"], ["a@must.test"]):
        smtp.submit(gateway.address(), "one@sender.test", recipients, harness.message())
    smtp.submit(gateway.address("strict"), "two@other.test", ["a@Secure.test"], harness.message())
    smtp.submit(gateway.address(), "", ["c@clear.test"], harness.message(), tls=False)
    with smtp.Client(gateway.address("strict")) as client:
        client.ehlo()
        client.expect("MAIL FROM:<a@sender.test>", 530)
        client.quit()
    with socket.create_connection(gateway.address()) as s, s.makefile("rb") as lines:
        lines.readline()
        s.sendall(b"EHLO x.test\r\n")
        while lines.readline()[3:4] == b"-":
            pass
        s.sendall(b"STARTTLS\r\n")
        lines.readline()
        s.sendall(b"this is no TLS, and it never was\r\n\r\n")
        lines.read()
    gateway.tracked("deferred", recipient="a@must.test")
    for recipient, count in (("a@secure.test", 2), ("c@clear.test", 1), ("a@clear.test", 1)):
        gateway.tracked("delivered", recipient=recipient, count=count)
    harness.wait_for("both refusals are noted", lambda: len(gateway.track(state="refused")) == 2)
    return gateway


def test_B57_known_numbers_with_and_without_a_gateway(day):
    found = report(day, "--since", "1h")
    coming, going = found["incoming"], found["outgoing"]
    assert sums(coming) == (5, 4, 0, 1, 2)
    assert sums(coming["wanted"]["preferred"]) == (4, 3, 0, 1, 1)
    assert sums(coming["wanted"]["required"]) == (1, 1, 0, 0, 1)
    assert sums(going) == (4, 2, 0, 2, 1)
    assert sums(going["wanted"]["preferred"]) == (4, 2, 0, 2, 0)
    assert sums(going["wanted"]["required"]) == (0, 0, 0, 0, 1)
    assert sums(going["wanted"]["none"]) == (0, 0, 0, 0, 0)
    assert (coming["percent_in_tls"], going["percent_in_tls"]) == (80.0, 50.0)
    assert len(coming["reasons"]) == 2 and "did not start it" in json.dumps(coming["reasons"])
    assert "STARTTLS" in going["reasons"][0]["reason"] and going["reasons"][0]["count"] == 1

    rows = {row["domain"]: row for row in found["domains"]}
    assert set(rows) == {"sender.test", "other.test", "<>", "secure.test", "clear.test", "must.test"} and found["domains_left_out"] == 0
    assert sums(rows["sender.test"]["incoming"]) == (3, 3, 0, 0, 0)
    assert sums(rows["secure.test"]["outgoing"]) == (2, 2, 0, 0, 0), "two recipients of one mail over one connection are one"
    assert sums(rows["must.test"]["outgoing"]) == (0, 0, 0, 0, 1)
    assert sums(rows["clear.test"]["incoming"]) == (0, 0, 0, 0, 0)

    alone = report(day, "--domain", "Clear.test")
    assert [row["domain"] for row in alone["domains"]] == ["clear.test"] and sums(alone["outgoing"]) == (2, 0, 0, 2, 0)
    assert sums(report(day, "--until", "2h")["incoming"]) == (0, 0, 0, 0, 0)
    short = report(day, "--limit", "1")
    assert len(short["domains"]) == 1 and short["domains_left_out"] > 0

    day.stop()
    again = report(day, "--since", "1h")
    assert {**again, "since": None} == {**found, "since": None}


def test_B57_for_people(day):
    done = day.command("report", "tls", "--since", "7d")
    assert done.returncode == 0, done.stderr
    lines = [line.split() for line in done.stdout.splitlines()]
    assert ["together", "5", "4", "0", "1", "2", "80.0", "%"] in lines and ["together", "4", "2", "0", "2", "1", "50.0", "%"] in lines
    assert ["must.test", "0", "0", "0", "0", "1"] in lines
    assert "failed 1 times: " in done.stdout and "STARTTLS" in done.stdout and "handshake had failed" not in done.stdout
    smtp.submit(day.address(), "", ["d@clear.test"], harness.message(), tls=False)
    assert '"percent_in_tls":66.6' in (text := day.command("report", "tls", "--json").stdout) and "66.59" not in text, text


def test_report_says_what_is_wrong(make_gateway):
    gateway = make_gateway(start=False)
    for arguments, word in ((["mail"], "mail"), (["tls", "--since", "soon"], "--since"), (["tls", "--limit", "some"], "--limit"), (["tls", "x"], "x")):
        done = gateway.command("report", *arguments)
        assert done.returncode == 2 and word in done.stderr, done.stderr
    done = gateway.command("report", "tls", "--help")
    assert done.returncode == 0 and "--since" in done.stdout and "--domain" in done.stdout
    assert gateway.command("report", "tls").returncode == 75, "there is neither a gateway nor a store"
