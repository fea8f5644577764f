"""Mail that cannot be delivered: a report to its sender (RFC 3464), and what never gets one."""

import email
import email.policy
import re

import pytest

import harness
import smtp


@pytest.fixture
def routes(make_sink):
    """Settings with good.test behind a scripted server and the sender's domain behind a sink (routes.back)."""

    def make(peer, **more):
        make.back = make_sink()
        return harness.settings(routes=[{"domain": "good.test", "next_hop": peer.address},
            {"domain": "sender.test", "next_hop": make.back.address}], **more)

    return make


def read_report(content):
    """(the whole message, the text part, per-message fields, [per-recipient fields], the returned part)"""
    whole = email.message_from_bytes(content, policy=email.policy.default)
    assert whole.get_content_type() == "multipart/report"
    assert whole.get_content_type() and whole.get_param("report-type") == "delivery-status"
    text, status, returned = whole.iter_parts()
    assert text.get_content_type() == "text/plain"
    assert status.get_content_type() == "message/delivery-status"
    assert returned.get_content_type() in ("text/rfc822-headers", "message/rfc822")
    per_message, *per_recipient = status.get_payload()
    return whole, text, per_message, per_recipient, returned


@pytest.mark.parametrize("stage,reply,state", [
    ("mail", "553 5.1.8 not from you", "5.1.8"),
    ("rcpt", "550 5.1.1 no such user here", "5.1.1"),
    ("data", "554 5.5.1 no", "5.5.1"),
    ("dot", "554 5.7.1 we do not like it", "5.7.1"),
    ("rcpt", "550 no status in this one", "5.0.0"),
])
def test_2_27_5xx_is_reported_to_the_sender(make_gateway, make_peer, routes, stage, reply, state):
    peer = make_peer(**{stage: reply})
    gateway = make_gateway(routes(peer))
    smtp.submit(gateway.address(), "alice@sender.test", "bob@good.test", harness.message("a lost one"))
    record = gateway.tracked("bounced", sender="alice@sender.test")
    (attempt,) = record["recipients"][0]["attempts"]
    assert attempt["reply"].startswith(reply[:3])

    (line,) = routes.back.wait()
    assert line["sender"] == "", "a report has the null sender"
    assert line["recipients"] == ["alice@sender.test"]
    content = routes.back.content(line)
    whole, text, per_message, (recipient,), returned = read_report(content)
    assert "alice@sender.test" in whole["To"]
    assert whole["From"] and whole["Date"] and whole["Message-ID"] and whole["Subject"]
    assert whole["MIME-Version"] == "1.0"
    assert whole.get("Auto-Submitted", "").startswith("auto-"), "RFC 3834 section 5"
    assert "bob@good.test" in text.get_content() and reply[4:] in re.sub(r"\s+", " ", text.get_content())
    assert re.fullmatch(rf"dns; *{re.escape(harness.HOSTNAME)}", per_message["Reporting-MTA"])
    assert re.fullmatch(r"rfc822; *bob@good\.test", recipient["Final-Recipient"])
    assert recipient["Action"] == "failed"
    assert recipient["Status"] == state
    diagnostic = re.sub(r"\s+", " ", recipient["Diagnostic-Code"])
    assert diagnostic.startswith("smtp;") and reply in diagnostic
    assert recipient["Remote-MTA"]
    assert "a lost one" in str(returned)
    assert not re.search(rb"\r(?!\n)|(?<!\r)\n", content)
    gateway.tracked("delivered", recipient="alice@sender.test")
    harness.wait_for("the bounce is counted", lambda: gateway.counters()["bounced"] == 1)


def test_2_23_one_report_for_all_failures_of_a_message(make_gateway, make_peer, routes):
    peer = make_peer(rcpt={"good@good.test": "250 2.1.5 ok", "*": "550 5.1.1 nobody"})
    gateway = make_gateway(routes(peer))
    smtp.submit(gateway.address(), "alice@sender.test", ["x@good.test", "good@good.test", "y@good.test"],
        harness.message())
    (line,) = routes.back.wait()
    _, _, _, recipients, _ = read_report(routes.back.content(line))
    assert sorted(r["Final-Recipient"].split(";")[1].strip() for r in recipients) == ["x@good.test", "y@good.test"]
    assert [m.recipients for m in peer.messages] == [["good@good.test"]]


def test_2_26_expired_mail_is_reported(make_gateway, make_peer, routes):
    peer = make_peer(rcpt="450 4.2.2 mailbox full")
    gateway = make_gateway(routes(peer, delivery={"retry": ["200ms"], "expire": "1s"}))
    smtp.submit(gateway.address(), "alice@sender.test", "bob@good.test", harness.message("too old"))
    (line,) = routes.back.wait()
    _, text, _, (recipient,), _ = read_report(routes.back.content(line))
    assert recipient["Action"] == "failed"
    assert recipient["Status"][0] in "45"
    assert "mailbox full" in recipient["Diagnostic-Code"]
    record = gateway.tracked("bounced", sender="alice@sender.test")
    assert len(record["recipients"][0]["attempts"]) >= 2


def test_2_28_reply_text_cannot_break_the_report(make_gateway, make_peer, routes):
    hostile = "550 5.1.1 \x1b[31m<script>alert(1)</script>\xff\x00 Final-Recipient: rfc822;evil@x " + "y" * 400
    peer = make_peer(rcpt=hostile)
    gateway = make_gateway(routes(peer))
    smtp.submit(gateway.address(), "alice@sender.test", "bob@good.test", harness.message())
    (line,) = routes.back.wait()
    content = routes.back.content(line)
    _, _, _, (recipient,), _ = read_report(content)
    assert re.fullmatch(r"rfc822; *bob@good\.test", recipient["Final-Recipient"])
    assert len(recipient.get_all("Final-Recipient")) == 1
    assert not re.search(rb"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\xff]", content)
    assert all(len(l) <= 998 for l in content.split(b"\r\n"))


def test_report_whose_way_cannot_be_looked_up_stays_deferred(make_gateway, make_peer):
    peer = make_peer(rcpt="550 5.1.1 nobody")
    gateway = make_gateway(next_hop=peer.address, dns={"forward": ["127.0.0.1@9"], "private_zones": ["test"], "timeout": "500ms"})
    smtp.submit(gateway.address(), "alice@sender.test", "bob@good.test", harness.message())
    gateway.tracked("bounced", recipient="bob@good.test")
    record = gateway.tracked("deferred", recipient="alice@sender.test")
    assert record["sender"] == ""
    (attempt, *_) = record["recipients"][0]["attempts"]
    assert attempt["reply"].startswith("451 4.4.3 the servers of the domain could not be looked up: MX of sender.test: ")
    assert gateway.counters()["queued"] == 1


def test_2_30_bounce_of_a_null_sender_makes_no_report(make_gateway, make_peer, routes):
    peer = make_peer(rcpt="550 5.1.1 nobody")
    gateway = make_gateway(routes(peer))
    smtp.submit(gateway.address(), "", "bob@good.test", harness.message("itself a report"))
    gateway.tracked("bounced", recipient="bob@good.test")
    harness.wait_for("nothing is left in the queue", lambda: gateway.counters()["queued"] == 0)
    records = gateway.track(since="1h")
    assert len(records) == 1, records
    assert routes.back.messages == []


def test_large_mail_is_reported_without_its_body(make_gateway, make_peer, routes):
    peer = make_peer(dot="552 5.3.4 too large for me")
    gateway = make_gateway(routes(peer))
    smtp.submit(gateway.address(), "alice@sender.test", "bob@good.test",
        harness.message("large", ("x" * 70 + "\r\n") * 20000))
    (line,) = routes.back.wait()
    assert line["size"] < 200_000
    _, _, _, _, returned = read_report(routes.back.content(line))
    assert "large" in str(returned)
