"""Mail that cannot be delivered: a report to its sender (RFC 3464), and what never gets one."""

import email
import email.policy
import email.utils
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
    assert f"at the server {recipient['Remote-MTA'].removeprefix('dns; ')}:" in text.get_content(), "people learn who refused it"
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


# What the sender asked for (RFC 3461)


def hand_in(gateway, content, *recipients, sender="alice@sender.test", mail=""):
    """Submit with parameters: each recipient is (address, parameters)."""
    with smtp.Client(gateway.address()) as client:
        client.do("EHLO client.test")
        assert client.do(f"MAIL FROM:<{sender}>{mail}").code == 250
        for address, parameters in recipients:
            assert client.do(f"RCPT TO:<{address}>{parameters}").code == 250
        assert client.do("DATA").code == 354
        client.send(content if isinstance(content, bytes) else content.encode())
        assert client.do(".").code == 250
        client.do("QUIT")


def lone_report(routes, gateway):
    """The one report that came, when everything has ended."""
    (line,) = routes.back.wait()
    harness.wait_for("nothing is left in the queue", lambda: gateway.counters()["queued"] == 0)
    assert len(routes.back.messages) == 1
    return routes.back.content(line)


BODY = "Subject: the subject\r\n\r\nthe body\r\n..a dot\r\n"


@pytest.mark.parametrize("ret,size,kind", [
    (" RET=FULL", 0, "message/rfc822"),
    (" RET=HDRS", 0, "text/rfc822-headers"),
    ("", 0, "text/rfc822-headers"),
    (" RET=FULL", 60_000, "text/rfc822-headers"),
])
def test_2_27_ret_envid_and_orcpt_come_back(make_gateway, make_peer, routes, ret, size, kind):
    peer = make_peer(rcpt="550 5.1.1 no such user here")
    gateway = make_gateway(routes(peer))
    filler = ("x" * 70 + "\r\n") * (size // 72)
    hand_in(gateway, BODY + filler, ("bob@good.test", " ORCPT=rfc822;b+2Bo+2Bb@old.test"), mail=f"{ret} ENVID=QQ+2B31")
    content = lone_report(routes, gateway)
    _, _, per_message, (recipient,), returned = read_report(content)
    assert per_message["Original-Envelope-Id"] == "QQ+31"
    assert email.utils.parsedate_to_datetime(per_message["Arrival-Date"])
    assert recipient["Original-Recipient"] == "rfc822; b+o+b@old.test"
    assert recipient["Final-Recipient"] == "rfc822; bob@good.test"
    assert recipient["Remote-MTA"] == "dns; [127.0.0.1]"
    assert email.utils.parsedate_to_datetime(recipient["Last-Attempt-Date"])
    assert returned.get_content_type() == kind
    original = returned.get_payload()
    if kind == "message/rfc822":
        assert original[0]["Subject"] == "the subject"
        assert original[0].get_payload().replace("\r\n", "\n") == "the body\n.a dot\n"
    else:
        assert "Subject: the subject" in original and "the body" not in original


def test_2_27_two_reports_differ_in_id_and_boundary_and_say_never(make_gateway, make_peer, routes, pki):
    peer = make_peer(rcpt="550 5.1.1 no such user here")
    back = make_peer(offers=("DSN",))
    settings = routes(peer)
    settings["routes"][1]["next_hop"] = back.address
    gateway = make_gateway(settings)
    for _ in range(2):
        hand_in(gateway, BODY, ("bob@good.test", ""))
    reports = [m.content for m in back.wait(2)]
    wholes = [email.message_from_bytes(r, policy=email.policy.default) for r in reports]
    assert len({w["Message-ID"] for w in wholes}) == 2
    assert len({w.get_boundary() for w in wholes}) == 2
    for report, whole in zip(reports, wholes):
        assert report.count(b"\r\n--" + whole.get_boundary().encode()) == 4
    rcpts = [line for s in back.sessions for line, _ in s.commands if line.startswith("RCPT")]
    assert rcpts == ["RCPT TO:<alice@sender.test> NOTIFY=NEVER"] * 2


@pytest.mark.parametrize("notify,rcpt,offers,action", [
    ("NEVER", "550 5.1.1 no", (), None),
    ("NEVER", "250 2.1.5 ok", (), None),
    ("SUCCESS", "250 2.1.5 ok", (), "relayed"),
    ("SUCCESS", "250 2.1.5 ok", ("DSN",), None),
    ("SUCCESS", "550 5.1.1 no", (), None),
    ("FAILURE", "250 2.1.5 ok", (), None),
    ("FAILURE,SUCCESS", "550 5.1.1 no", (), "failed"),
    ("DELAY", "550 5.1.1 no", (), None),
])
def test_2_29_notify_is_obeyed(make_gateway, make_peer, routes, notify, rcpt, offers, action):
    peer = make_peer(rcpt={"bob@good.test": rcpt, "last@good.test": "550 5.1.1 the marker"}, offers=offers)
    gateway = make_gateway(routes(peer))
    hand_in(gateway, BODY, ("bob@good.test", f" NOTIFY={notify}"), mail=" RET=FULL")
    harness.wait_for("it has ended", lambda: peer.sessions and gateway.track(recipient="bob@good.test")[0]["recipients"][0][
        "state"] in ("delivered", "bounced"))
    hand_in(gateway, BODY, ("last@good.test", ""))
    lines = routes.back.wait(2 if action else 1)
    harness.wait_for("nothing is left in the queue", lambda: gateway.counters()["queued"] == 0)
    reports = [read_report(routes.back.content(line)) for line in lines]
    actions = {r["Final-Recipient"]: r["Action"] for report in reports for r in report[3]}
    assert actions.pop("rfc822; last@good.test") == "failed"
    assert actions == ({"rfc822; bob@good.test": action} if action else {})
    if action == "relayed":
        (report,) = [r for r in reports if r[3][0]["Action"] == "relayed"]
        assert report[3][0]["Status"].startswith("2.")
        assert report[4].get_content_type() == "text/rfc822-headers", "only a failure returns the whole message"
    said = [line for s in peer.sessions for line, _ in s.commands if "bob@" in line]
    assert said[0] == "RCPT TO:<bob@good.test>" + (f" NOTIFY={notify}" if offers else "")


def test_2_26_a_delay_is_reported_once_and_never_again_after_a_restart(make_gateway, make_peer, routes):
    peer = make_peer(rcpt="450 4.2.2 mailbox full")
    gateway = make_gateway(routes(peer, delivery={"retry": ["200ms"], "expire": "1h", "delay_warning": "1s"}))
    hand_in(gateway, BODY, ("bob@good.test", ""), ("eve@good.test", " NOTIFY=FAILURE"), ("joe@good.test", " NOTIFY=DELAY"))
    (line,) = routes.back.wait()

    def attempts():
        return [len(r["attempts"]) for r in gateway.track(sender="alice@sender.test")[0]["recipients"]]

    whole, text, _, recipients, returned = read_report(routes.back.content(line))
    assert {r["Final-Recipient"]: r["Action"] for r in recipients} == {
        "rfc822; bob@good.test": "delayed", "rfc822; joe@good.test": "delayed"}
    for recipient in recipients:
        assert recipient["Status"] == "4.2.2"
        until = email.utils.parsedate_to_datetime(recipient["Will-Retry-Until"])
        last = email.utils.parsedate_to_datetime(recipient["Last-Attempt-Date"])
        assert 3500 < (until - last).total_seconds() <= 3600
    assert "mailbox full" in text.get_content() and "need not send" in text.get_content()
    assert returned.get_content_type() == "text/rfc822-headers"
    for _ in range(2):
        before = attempts()[0]
        harness.wait_for("three more attempts", lambda: attempts()[0] >= before + 3)
        gateway.kill_all()
        gateway.start()
    before = attempts()[0]
    harness.wait_for("three more attempts", lambda: attempts()[0] >= before + 3)
    assert len(routes.back.messages) == 1


def test_2_26_nobody_is_told_of_a_delay_by_0(make_gateway, make_peer, routes):
    peer = make_peer(rcpt="450 4.2.2 mailbox full")
    gateway = make_gateway(routes(peer, delivery={"retry": ["200ms"], "expire": "2s", "delay_warning": 0}))
    hand_in(gateway, BODY, ("bob@good.test", ""))
    _, _, _, (recipient,), _ = read_report(lone_report(routes, gateway))
    assert recipient["Action"] == "failed"


def test_2_30_a_report_that_fails_goes_to_the_double_bounce_address(make_gateway, make_peer, routes, make_sink):
    peer = make_peer(rcpt="550 5.1.1 nobody")
    office = make_sink()
    settings = routes(peer, delivery={"retry": ["200ms"], "expire": "1h", "double_bounce": "postmaster@office.test"})
    settings["routes"][1]["next_hop"] = peer.address
    settings["routes"].append({"domain": "office.test", "next_hop": office.address})
    gateway = make_gateway(settings)
    hand_in(gateway, BODY, ("bob@good.test", ""))
    (line,) = office.wait()
    assert line["sender"] == "" and line["recipients"] == ["postmaster@office.test"]
    whole, _, _, (recipient,), returned = read_report(office.content(line))
    assert recipient["Final-Recipient"] == "rfc822; alice@sender.test"
    assert "Auto-Submitted: auto-replied" in str(returned) and "Undelivered mail" in str(returned)
    assert "the body" not in str(whole)
    harness.wait_for("nothing is left in the queue", lambda: gateway.counters()["queued"] == 0)
    assert "dsn_dropped" not in gateway.stderr()


def test_2_30_a_double_bounce_that_fails_is_dropped(make_gateway, make_peer, routes):
    peer = make_peer(rcpt="550 5.1.1 nobody")
    settings = routes(peer, delivery={"retry": ["200ms"], "double_bounce": "Postmaster@good.test"})
    settings["routes"][1]["next_hop"] = peer.address
    gateway = make_gateway(settings)
    hand_in(gateway, BODY, ("bob@good.test", ""))
    gateway.tracked("bounced", recipient="postmaster@good.test")
    harness.wait_for("nothing is left in the queue", lambda: gateway.counters()["queued"] == 0)
    assert [r["sender"] for r in gateway.track(since="1h")] == ["alice@sender.test", "", ""]
    assert len(re.findall(" dsn_dropped .*recipient=Postmaster@good.test", gateway.stderr())) == 1


def test_2_28_hostile_addresses_and_headers_stay_on_their_lines(make_gateway, make_peer, routes):
    peer = make_peer(rcpt="550 5.1.1 <bob@good.test>: no <script>alert(1)</script>")
    gateway = make_gateway(routes(peer))
    hand_in(gateway, b"Subject: \xff\x0b\x1b[31m <script>\r\nX: --\r\n\r\n--=_\r\n",
        ("bob@good.test", " ORCPT=rfc822;+3Cscript>@x"), mail=" ENVID=+3Cb>")
    content = lone_report(routes, gateway)
    _, text, per_message, (recipient,), _ = read_report(content)
    assert recipient["Diagnostic-Code"] == "smtp; 550 5.1.1 <bob@good.test>: no (script)alert(1)(/script)"
    assert recipient["Original-Recipient"] == "rfc822; (script)@x"
    assert per_message["Original-Envelope-Id"] == "(b)"
    assert "<script>" not in text.get_content()
    assert not re.search(rb"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\xff]", content)


def test_2_28_global_types_only_for_a_sender_who_is_known_to_take_them(make_gateway, make_peer, routes):
    peer = make_peer(rcpt="550 5.1.1 no", offers=("8BITMIME", "SMTPUTF8"))
    back = make_peer(offers=("8BITMIME", "SMTPUTF8"))
    settings = routes(peer)
    settings["routes"][1]["next_hop"] = back.address
    gateway = make_gateway(settings)
    mail = "Subject: Grüße\r\n\r\nhallo\r\n".encode()
    for sender in ("älice@sender.test", "alice@sender.test"):
        with smtp.Client(gateway.address()) as client:
            client.do("EHLO client.test")
            assert client.do(f"MAIL FROM:<{sender}> SMTPUTF8 BODY=8BITMIME RET=FULL".encode()).code == 250
            assert client.do("RCPT TO:<bøb@good.test>".encode()).code == 250
            assert client.do("DATA").code == 354
            client.send(mail)
            assert client.do(".").code == 250
    back.wait(2)
    wide, narrow = sorted((m.content for m in back.messages), key=lambda c: b"global" not in c)
    assert "To: <älice@sender.test>\r\n".encode() in wide
    assert b"Content-Type: message/global-delivery-status\r\n" in wide and b"Content-Type: message/global\r\n" in wide
    assert "Final-Recipient: utf-8; bøb@good.test\r\n".encode() in wide and "Grüße".encode() in wide
    assert b"global" not in narrow and all(b < 0x80 for b in narrow)
    assert b"Final-Recipient: utf-8; b\\x{F8}b@good.test\r\n" in narrow
    said = [line for s in back.sessions for line, _ in s.commands if line.startswith("MAIL")]
    assert sorted("SMTPUTF8" in line for line in said) == [False, True]


def test_2_26_mail_for_a_dead_destination_is_reported_in_time_though_it_is_not_tried(make_gateway, make_peer, make_sink):
    """Parked after its first failure, one probe each: all twelve are told of the delay and of the end."""
    back = make_sink()
    with make_peer() as dead:
        pass
    gateway = make_gateway(harness.settings(routes=[{"domain": "good.test", "next_hop": dead.address},
        {"domain": "sender.test", "next_hop": back.address}],
        delivery={"retry": ["2s"], "expire": "15s", "delay_warning": "2s"}))
    for i in range(12):
        hand_in(gateway, BODY, (f"r{i}@good.test", ""))
    lines = back.wait(24, patience=90)
    harness.wait_for("nothing is left in the queue", lambda: gateway.counters()["queued"] == 0)
    told = {}
    for line in lines:
        _, _, _, recipients, _ = read_report(back.content(line))
        for recipient in recipients:
            told.setdefault(recipient["Final-Recipient"], []).append(recipient["Action"])
    assert told == {f"rfc822; r{i}@good.test": ["delayed", "failed"] for i in range(12)}
    attempts = [a for r in gateway.track(sender="alice@sender.test") for p in r["recipients"] for a in p["attempts"]]
    assert any("for some time" in a["reply"] for a in attempts)
    probes = len(re.findall(" delivery_connect_failed ", gateway.stderr()))
    assert probes < len(attempts), "each probe stands for many"
