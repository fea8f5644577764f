"""`postern track`: what is found, and how, with and without a running gateway."""

import json
import time

import pytest

import harness
import smtp


@pytest.fixture
def three(gateway):
    """Three delivered mails."""
    for n, recipient in enumerate(["bob@good.test", "carol@good.test", "bob@good.test"]):
        smtp.submit(gateway.address(), f"s{n}@sender.test", recipient, harness.message(f"m{n}"))
    gateway.tracked("delivered", count=3, since="1h")
    return gateway


def senders(records):
    return [record["sender"] for record in records]


def test_by_sender_recipient_mid_and_both(three):
    assert senders(three.track(sender="s1@sender.test")) == ["s1@sender.test"]
    assert senders(three.track(sender="S1@SENDER.test")) == ["s1@sender.test"], "compared without case"
    assert senders(three.track(recipient="bob@good.test")) == ["s0@sender.test", "s2@sender.test"], "oldest first"
    assert senders(three.track(recipient="bob@good.test", sender="s2@sender.test")) == ["s2@sender.test"]
    (record,) = three.track(recipient="carol@good.test")
    assert three.track(mid=record["mid"]) == [record]
    assert len({r["mid"] for r in three.track(since="1h")}) == 3
    assert three.track(sender="nobody@sender.test") == []
    assert three.track(mid=99999) == []


def test_since(three):
    future = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() + 3600))
    past = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() - 3600))
    assert three.track(since=future) == []
    assert len(three.track(since=past)) == 3
    assert len(three.track(since=time.strftime("%Y-%m-%d", time.gmtime(time.time() - 86400)))) == 3
    bad = three.command("track", "--since", "yesterday-ish")
    assert bad.returncode == 2 and "--since" in bad.stderr


def test_by_time_domain_state_and_server(three):
    times = [record["time"] for record in three.track(since="1h")]
    assert len(three.track(until=times[1])) == 1 and len(three.track(since=times[1], until="0s")) == 2
    assert len(three.track(since="1h30m")) == 3 and three.track(until="2h30m") == []
    assert len(three.track(domain="GOOD.test")) == 3 and three.track(domain="ood.test") == []
    assert len(three.track(state="delivered")) == 3 and three.track(state="bounced") == []
    assert three.track(state="delivered", domain="good.test", recipient="carol@good.test")[0]["sender"] == "s1@sender.test"
    server = three.track(limit=1)[0]["recipients"][0]["attempts"][0]["address"]
    assert len(three.track(destination=server)) == 3 and three.track(destination="127.0.0.1:1") == []
    assert senders(three.track(limit=2)) == ["s0@sender.test", "s1@sender.test"]
    for option, value in (("--state", "lost"), ("--limit", "0"), ("--until", "soon"), ("--since", "2026-11-21T10:20+2:00")):
        done = three.command("track", option, value)
        assert done.returncode == 2 and option in done.stderr


def test_every_state_is_found_by_its_name_also_without_a_gateway(make_gateway):
    hop = harness.free_address()
    gateway = make_gateway(next_hop=hop, delivery={"retry": ["7d"]}, routes=[{"domain": "default", "next_hop": hop}])
    with smtp.Client(gateway.address()) as c:
        c.ehlo()
        for n in range(4):
            c.mail(f"s{n}@sender.test", f"u{n}@good.test", harness.message())
        c.expect("MAIL FROM:<spy@sender.test>", 250)
        c.expect("RCPT TO:<x@elsewhere.test>", 550)
        c.quit()
    harness.wait_for("the next hop is paused", lambda: gateway.status()["queue"]["paused"] and gateway.status()["queue"]["active"] == 0)
    deferred, queued = gateway.track(state="deferred"), gateway.track(state="queued")
    assert len(deferred) + len(queued) == 4 and len(queued) >= 2
    assert {r["recipients"][0]["state"] for r in queued} == {"queued"}
    assert gateway.command("queue", "delete", str(queued[0]["mid"]), "--yes").returncode == 0
    assert gateway.command("queue", "expire", str(queued[1]["mid"]), "--yes").returncode == 0
    harness.wait_for("a report is written", lambda: gateway.track(state="bounced"))
    harness.wait_for("the refusal is noted", lambda: gateway.track(state="refused"))

    # A mail that bounced names the mail that told its sender.
    (bounced,) = gateway.track(mid=queued[1]["mid"])
    (report,) = [r["mid"] for r in gateway.track(recipient=bounced["sender"]) if r["sender"] == ""]
    assert bounced["reports"] == [report] and "reports" not in gateway.track(mid=deferred[0]["mid"])[0]
    assert f"its sender was told by mail {report}" in gateway.command("track", "--mid", str(bounced["mid"])).stdout

    def found():
        return {state: sorted(r["mid"] or 0 for r in gateway.track(state=state)) for state in ("deferred", "bounced", "deleted", "refused", "delivered")}

    want = {"deferred": [r["mid"] for r in deferred], "bounced": [bounced["mid"]], "deleted": [queued[0]["mid"]], "refused": [0], "delivered": []}
    assert found() == want
    gateway.stop()
    assert found() == want
    assert gateway.track(mid=bounced["mid"])[0]["reports"] == [report]


def test_for_people(three):
    """Without --json: readable text, with the facts in it."""
    done = three.command("track", "--sender", "s1@sender.test")
    assert done.returncode == 0
    for fact in ("s1@sender.test", "carol@good.test", "delivered", "TLSv1.3"):
        assert fact in done.stdout, done.stdout


def test_refused_recipient_is_found(gateway):
    with smtp.Client(gateway.address()) as c:
        c.ehlo("refused.sender.test")
        c.expect("MAIL FROM:<spy@sender.test>", 250)
        c.expect("RCPT TO:<x@elsewhere.test>", 550, "5.7.1")
        c.quit()
    record = harness.wait_for("the refusal is tracked", lambda: gateway.track(recipient="x@elsewhere.test"))[0]
    assert record["sender"] == "spy@sender.test"
    assert record["inbound"]["helo"] == "refused.sender.test"
    assert record["inbound"]["client"].startswith("127.0.0.1")
    assert record["inbound"]["tls"]["obtained"] == "none"
    (recipient,) = record["recipients"]
    assert (recipient["address"], recipient["state"]) == ("x@elsewhere.test", "refused")
    assert recipient["attempts"][0]["reply"].startswith("550 5.7.1")
    assert gateway.track(sender="spy@sender.test") == [record]
    harness.wait_for("it is counted", lambda: gateway.counters()["rejected"] >= 1)


def test_more_than_a_page(gateway):
    with smtp.Client(gateway.address()) as c:
        c.ehlo()
        for n in range(55):
            c.mail(f"page{n}@sender.test", "many@good.test", harness.message())
        c.quit()
    records = gateway.tracked("delivered", count=55, recipient="many@good.test")
    assert senders(records) == [f"page{n}@sender.test" for n in range(55)]


def test_with_no_gateway_the_store_is_read(three):
    before = three.track(since="1h")
    three.stop()
    after = three.track(since="1h")
    assert after == before


def test_output_of_a_hostile_helo_is_one_json_line(gateway):
    with smtp.Client(gateway.address()) as c:
        c.expect('EHLO evil.test', 250)
        c.expect("MAIL FROM:<\"quo\\\"ted\"@sender.test>", 250)
        c.expect("RCPT TO:<x@elsewhere.test>", 550)
        c.quit()
    harness.wait_for("the refusal is tracked", lambda: gateway.track(recipient="x@elsewhere.test"))
    done = gateway.command("track", "--recipient", "x@elsewhere.test", "--json")
    (line,) = done.stdout.splitlines()
    assert json.loads(line)["sender"] == '"quo\\"ted"@sender.test'


def test_empty_store(make_gateway, sink):
    gateway = make_gateway(next_hop=sink.address)
    assert gateway.track(since="1h") == []
    gateway.stop()
    assert gateway.track(since="1h") == []
