"""Recipients: the list and its mistakes, what a next hop's refusal means, and that every refusal leaves a trace that names its limit."""

import json

import pytest

import harness
import smtp

ON = {"call_ahead": "on"}


def events(gateway, name):
    """The keys of each event `name`, from a log in JSON."""
    lines = [json.loads(line) for line in gateway.stderr().splitlines() if line.startswith("{")]
    return [line for line in lines if line["event"] == name]


def wait_event(gateway, name):
    """The one event of that name."""
    found = harness.wait_for(lambda: f"an event {name}\n{gateway.stderr()}", lambda: events(gateway, name))
    assert len(found) == 1, found
    return found[0]


@pytest.fixture
def logged(make_gateway):
    """logged(...) -> a gateway that logs JSON; arguments as harness.settings()."""
    return lambda **options: make_gateway(log={"format": "json"}, **options)


def session(gateway, source=None):
    """A client that has said EHLO."""
    client = smtp.Client(gateway.address(), source=source)
    client.ehlo()
    return client


def rcpt(gateway, recipient):
    """(code, status) of one RCPT in a session of its own."""
    with session(gateway) as c:
        c.expect("MAIL FROM:<alice@sender.test>", 250)
        reply = c.do(f"RCPT TO:<{recipient}>")
        c.quit()
        return reply.code, reply.status


def expect_trace(gateway, event, sender, recipient, reply, reason):
    """One event, and one record of `track`, that say the same."""
    found = wait_event(gateway, event)
    assert found["client"].startswith("127.0.0.") and (found["sender"], found["recipient"]) == (sender, recipient), found
    assert found["reply"].startswith(reply) and found["reason"] == reason, found
    record = gateway.tracked("refused", sender=sender)
    assert record["inbound"]["client"] == found["client"] and (record["recipients"][0]["address"] or "") == recipient
    assert record["recipients"][0]["attempts"][0]["reply"] == found["reply"]


# The list


def with_list(make_gateway, text, **options):
    """A gateway that is not started, with the list `people`."""
    gateway = make_gateway(start=False, recipients={"file": "people"}, **options)
    (gateway.folder / "people").write_text(text)
    return gateway


def test_the_format_of_the_list(make_gateway):
    gateway = with_list(make_gateway, "# people\r\n\n  Bob@GOOD.test\n@two.test\r\n", accepted_domains=["good.test", "two.test"],
        routes=[{"domain": "default", "next_hop": "127.0.0.1:9"}]).start()
    for recipient in ("bob@good.test", "BOB@good.TEST", "anybody@two.test", "Postmaster@good.test", "abuse@good.test"):
        assert rcpt(gateway, recipient) == (250, "2.1.5"), recipient
    assert rcpt(gateway, "carol@good.test") == (550, "5.1.1")


def test_a_change_needs_a_reload(make_gateway):
    gateway = with_list(make_gateway, "bob@good.test\n").start()
    (gateway.folder / "people").write_text("carol@good.test\n")
    assert rcpt(gateway, "carol@good.test") == (550, "5.1.1")
    assert gateway.command("reload").returncode == 0
    assert rcpt(gateway, "carol@good.test") == (250, "2.1.5")
    assert rcpt(gateway, "bob@good.test") == (550, "5.1.1")


@pytest.mark.parametrize("text, line, words", [
    ("bob@good.test\nbob\n", ":2", "is no mail address"),
    ("bob@good.test # Bob\n", ":1", "something stands behind `bob@good.test`"),
    ("bob@elsewhere.test\n", ":1", "accepted_domains"),
    ("\n@sub.good.test\n", ":2", "accepted_domains"),
    ("# nobody yet\n", "", "has no address"),
    ("", "", "has no address"),
], ids=["no address", "junk", "another domain", "a whole other domain", "comments alone", "empty"])
def test_a_bad_list_is_refused(make_gateway, text, line, words):
    """By `check`, by a start and by a reload alike, with file, line and cure; what runs goes on."""
    gateway = with_list(make_gateway, text)
    place = f"{gateway.folder}/people{line}: recipients.file: "
    done = gateway.command("check")
    assert done.returncode == 1 and place in done.stdout + done.stderr and words in done.stdout + done.stderr, done
    gateway.start(wait=False)
    assert gateway.wait_end() == 1 and place in gateway.stderr()
    (gateway.folder / "people").write_text("bob@good.test\n")
    gateway.start()
    (gateway.folder / "people").write_text(text)
    done = gateway.command("reload")
    assert done.returncode == 1 and place in done.stdout + done.stderr, done
    assert rcpt(gateway, "bob@good.test") == (250, "2.1.5")


def test_a_list_of_mistakes_is_told_in_a_few_lines(make_gateway):
    gateway = with_list(make_gateway, "what is this\n" * 5000)
    done = gateway.command("check")
    told = (done.stdout + done.stderr).splitlines()
    assert done.returncode == 1 and len([line for line in told if "/people" in line]) == 11, told
    assert any("4990 more of its lines" in line for line in told), told


# What the next hop says


@pytest.mark.parametrize("said, heard, answer", [
    ("550 5.1.1 no such user", "550 5.1.1", "unknown"),
    ("550 no such user", "550 5.1.1", "unknown"),
    ("552 5.2.2 mailbox full", "452 4.2.2", "full"),
    ("452 4.2.2 mailbox full", "452 4.2.2", "full"),
    ("550 5.7.1 members only", "550 5.7.1", "refused"),
    ("554 5.7.1 relay access denied", "550 5.7.1", "refused"),
    ("450 4.7.1 greylisted", "450 4.1.1", "later"),
])
def test_a_refusal_of_the_next_hop_is_passed_on_by_its_meaning(logged, make_peer, said, heard, answer):
    peer = make_peer(rcpt={"bob@good.test": [said, "250 2.1.5 ok"]})
    gateway = logged(next_hop=peer.address, recipients=ON)
    assert "%d %s" % rcpt(gateway, "bob@good.test") == heard
    verified = wait_event(gateway, "recipient_verified")
    assert (verified["host"], verified["answer"], verified["reply"]) == (peer.address, answer, said)
    refused = wait_event(gateway, "recipient_refused")
    assert refused["icid"] == verified["icid"] and refused["reply"].startswith(heard)
    gateway.tracked("refused", recipient="bob@good.test")
    again = rcpt(gateway, "bob@good.test")
    assert again == ((550, "5.1.1") if answer == "unknown" else (250, "2.1.5")), "only unknown is remembered"


def test_a_next_hop_that_cannot_be_asked_leaves_a_trace(logged):
    gateway = logged(next_hop=harness.free_address(), recipients=ON)
    assert rcpt(gateway, "bob@good.test") == (450, "4.1.1")
    expect_trace(gateway, "recipient_refused", "alice@sender.test", "bob@good.test", "450 4.1.1",
        "the next hop could not be asked")
    verified = wait_event(gateway, "recipient_verified")
    assert verified["answer"] == "later" and verified["reply"].startswith("450 4.4"), verified


def test_a_reload_forgets_what_was_remembered(make_gateway, make_peer):
    peer = make_peer(rcpt={"bob@good.test": ["550 5.1.1 no such user", "250 2.1.5 ok"]})
    gateway = make_gateway(next_hop=peer.address, recipients=ON)
    for _ in range(2):
        assert rcpt(gateway, "bob@good.test") == (550, "5.1.1")
    assert gateway.command("reload").returncode == 0
    assert rcpt(gateway, "bob@good.test") == (250, "2.1.5")


# Limits by their names


def test_a_mail_that_is_too_large_at_mail(logged):
    gateway = logged(limits={"message_size": "64KiB"})
    with session(gateway) as c:
        c.expect("MAIL FROM:<big@sender.test> SIZE=65537", 552, "5.3.4")
        c.expect("RCPT TO:<bob@good.test>", 503)
        c.quit()
    expect_trace(gateway, "mail_refused", "big@sender.test", "", "552 5.3.4", "limits.message_size")


def test_one_recipient_too_many(logged):
    gateway = logged(limits={"recipients": 100})
    with session(gateway) as c:
        c.expect("MAIL FROM:<many@sender.test>", 250)
        for n in range(100):
            c.expect(f"RCPT TO:<r{n}@good.test>", 250)
        c.expect("RCPT TO:<last@good.test>", 452, "4.5.3")
        c.quit()
    expect_trace(gateway, "recipient_refused", "many@sender.test", "last@good.test", "452 4.5.3", "limits.recipients")
    assert gateway.counters()["rejected_by"]["limit"] == 1


def test_the_queue_quota(logged):
    gateway = logged(next_hop=harness.free_address(), limits={"queue_quota": 1})
    with session(gateway) as c:
        c.mail("first@sender.test", "bob@good.test", harness.message())
        c.envelope("second@sender.test")
        reply = c.data(harness.message())
        assert (reply.code, reply.status) == (452, "4.7.0"), reply
        c.quit()
    expect_trace(gateway, "mail_refused", "second@sender.test", "bob@good.test", "452 4.7.0", "limits.queue_quota")


@pytest.mark.parametrize("limits, content, reason", [
    ({"message_size": "64KiB"}, harness.message(body="x\r\n" * 30000), "limits.message_size"),
    ({"header": "8KiB"}, b"X: y\r\n" * 2000 + b"\r\n", "limits.header"),
    ({"line": 998}, b"\r\n" + b"x" * 1000 + b"\r\n", "limits.line"),
], ids=["message_size", "header", "line"])
def test_a_content_over_a_limit(logged, limits, content, reason):
    gateway = logged(limits=limits)
    with session(gateway) as c:
        c.envelope("fat@sender.test")
        assert c.data(content).code in (552, 554)
        c.quit()
    expect_trace(gateway, "mail_refused", "fat@sender.test", "bob@good.test", "55", reason)


@pytest.mark.parametrize("limits, command, allowed, reason", [
    ({"errors": 2}, "FOO", 2, "limits.errors"),
    ({"commands": 3}, "NOOP", 2, "limits.commands"),
], ids=["errors", "commands"])
def test_a_session_that_is_cut_off(logged, limits, command, allowed, reason):
    """The manual says how many are allowed (of the commands, EHLO was one)."""
    gateway = logged(limits=limits)
    with session(gateway) as c:
        for _ in range(allowed):
            assert c.do(command).code != 421
        reply = c.do(command)
        assert (reply.code, reply.status) == (421, "4.7.0") and ("errors" in reply.text) == ("errors" in limits), reply
        c.expect_closed()
    found = wait_event(gateway, "session_refused")
    assert found["client"].startswith("127.0.0.1") and (found["reply"], found["reason"]) == (reply.text, reason), found


@pytest.mark.parametrize("limit", ["idle_time", "session_time"])
def test_a_session_that_takes_too_long(logged, limit):
    gateway = logged(limits={limit: "1s"})
    with session(gateway) as c:
        c.expect_last(421, "4.4.2")
    found = wait_event(gateway, "session_timeout")
    assert found["client"].startswith("127.0.0.1") and found["reason"] == "limits." + limit, found


# Guessing


def test_1_13_unknown_recipients_do_not_keep_the_others_from_their_mail(logged, sink):
    """30 of 60 do not exist; the next mail of the session may have as many."""
    gateway = logged(next_hop=sink.address)
    with session(gateway) as c:
        for n in range(10):
            c.expect(f"MAIL FROM:<list{n}@sender.test>", 250)
            for r in range(30):
                c.expect(f"RCPT TO:<r{r}@elsewhere.test>", 550, "5.7.1")
                c.expect(f"RCPT TO:<r{r}@good.test>", 250)
            assert c.data(harness.message()).code == 250
        c.quit()
    assert events(gateway, "session_refused") == []


def test_1_13_guessing_recipients_comes_to_an_end(logged):
    gateway = logged(limits={"errors": 5})
    with session(gateway) as c:
        for n in range(50):
            if n % 10 == 0:
                c.expect("RSET", 250)
                c.expect("MAIL FROM:<spy@sender.test>", 250)
            c.expect(f"RCPT TO:<r{n}@elsewhere.test>", 550, "5.7.1")
        c.expect("RCPT TO:<one@elsewhere.test>", 421, "4.7.0")
        c.expect_closed()
    assert wait_event(gateway, "session_refused")["reason"] == "limits.errors"


# XCLIENT


def test_10_33_a_client_that_is_rejected_is_rejected_behind_xclient(logged):
    configuration = harness.settings(sender_groups=[{"name": "bad", "networks": ["192.0.2.0/24"], "policy": "refused"}],
        mail_flow_policies=[{"name": "accepted"}, {"name": "refused", "action": "reject"}])
    configuration["listeners"][0]["xclient_from"] = ["127.0.0.1"]
    gateway = logged(**{key: configuration[key] for key in ("sender_groups", "mail_flow_policies", "listeners")})
    with session(gateway) as c:
        c.expect("XCLIENT ADDR=192.0.2.9", 554, "5.7.1")
        c.expect_closed()
    found = wait_event(gateway, "connection_refused")
    assert found["client"].startswith("192.0.2.9") and found["reply"].startswith("554 5.7.1"), found
    (record,) = harness.wait_for("it is tracked", lambda: gateway.track(since="1h"))
    assert record["inbound"]["client"] == found["client"]
    with session(gateway) as c:
        c.expect("XCLIENT ADDR=198.51.100.9", 220)
        c.quit()
