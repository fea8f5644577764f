"""Delivery: table B59 (columns none, preferred, required), deferral and back-off, broken servers. Conformance section 2."""

import re
import time

import pytest

import harness
import smtp

# What the server does -> (EHLO offered STARTTLS?, keyword arguments of the scripted server)
SERVERS = {
    "no ESMTP": {"esmtp": False},
    "no STARTTLS": {"starttls": "absent"},
    "STARTTLS refused": {"starttls": "refused"},
    "handshake broken": {"starttls": "broken"},
    "bytes behind the 220": {"starttls": "inject"},
    "good TLS": {"starttls": "good"},
}

# B59: delivery level, server -> "clear" (on the same connection), "tls", or "defer"
B59 = {
    ("none", "no ESMTP"): "clear",
    ("none", "no STARTTLS"): "clear",
    ("none", "STARTTLS refused"): "clear",
    ("none", "handshake broken"): "clear",
    ("none", "bytes behind the 220"): "clear",
    ("none", "good TLS"): "clear",
    ("preferred", "no ESMTP"): "clear",
    ("preferred", "no STARTTLS"): "clear",
    ("preferred", "STARTTLS refused"): "clear",
    ("preferred", "handshake broken"): "defer",
    ("preferred", "bytes behind the 220"): "defer",
    ("preferred", "good TLS"): "tls",
    ("required", "no ESMTP"): "defer",
    ("required", "no STARTTLS"): "defer",
    ("required", "STARTTLS refused"): "defer",
    ("required", "handshake broken"): "defer",
    ("required", "bytes behind the 220"): "defer",
    ("required", "good TLS"): "tls",
}


def send(gateway, sender="alice@sender.test", recipients="bob@good.test", content=None):
    return smtp.submit(gateway.address(), sender, recipients, content or harness.message())


def attempts(gateway, **criteria):
    records = gateway.track(**criteria)
    return [a for record in records for r in record["recipients"] for a in r["attempts"]]


def wait_attempts(gateway, count, **criteria):
    def enough():
        found = attempts(gateway, **criteria)
        return found if len(found) >= count else None
    return harness.wait_for(lambda: f"{count} attempts for {criteria}, have {attempts(gateway, **criteria)}", enough)


@pytest.mark.parametrize("level,server", B59, ids=lambda word: word.replace(" ", "_"))
def test_B59(make_gateway, make_peer, level, server):
    peer = make_peer(**SERVERS[server])
    gateway = make_gateway(next_hop=peer.address, delivery_tls=level, delivery={"retry": ["1h"]})
    send(gateway)
    want = B59[level, server]

    if want == "defer":
        record = gateway.tracked("deferred", sender="alice@sender.test")
        (attempt,) = record["recipients"][0]["attempts"]
        assert attempt["tls"]["desired"] == level
        assert attempt["tls"]["obtained"] == "none"
        assert attempt["tls"]["reason"], "why it was not protected"
        assert attempt["reply"].startswith("4"), attempt["reply"]
        assert peer.messages == []
        for session in peer.wait_sessions():
            for verb in ("MAIL", "RCPT", "DATA"):
                assert not session.said_in_clear(verb), f"{verb} was sent in clear at level {level}"
        assert len(peer.sessions) == 1, "no second connection in clear"
        return

    record = gateway.tracked("delivered", sender="alice@sender.test")
    (attempt,) = record["recipients"][0]["attempts"]
    (message,) = peer.wait()
    assert message.sender == "alice@sender.test" and message.recipients == ["bob@good.test"]
    tls = attempt["tls"]
    assert tls["desired"] == level
    assert len(peer.sessions) == 1, "everything on one connection"
    if want == "clear":
        assert message.tls is None
        assert (tls["obtained"], tls["protocol"], tls["cipher"], tls["peer"]) == ("none", None, None, None)
        assert tls["reason"]
        if level == "none" or server in ("no ESMTP", "no STARTTLS"):
            assert "STARTTLS" not in peer.sessions[0].verbs(), "STARTTLS was sent without an offer or against the setting"
    else:
        assert message.tls == tls["protocol"]
        assert tls["obtained"] == "encrypted"
        assert peer.sessions[0].verbs()[:3] == ["EHLO", "STARTTLS", "EHLO"], "EHLO again after the handshake"
        assert not peer.sessions[0].said_in_clear("MAIL")


def test_2_10_helo_after_a_refused_ehlo(make_gateway, make_peer):
    peer = make_peer(esmtp=False)
    gateway = make_gateway(next_hop=peer.address)
    send(gateway)
    peer.wait()
    assert peer.sessions[0].verbs()[:3] == ["EHLO", "HELO", "MAIL"]
    assert peer.sessions[0].commands[2][0] == "MAIL FROM:<alice@sender.test>", "no parameters without ESMTP"


def test_the_longest_matching_destination_counts(make_gateway, make_peer):
    peer = make_peer(starttls="absent")
    gateway = make_gateway(harness.settings(accepted_domains=["good.test", "must.good.test"],
        routes=[{"domain": "default", "next_hop": peer.address}],
        destinations=[{"domain": "default", "tls": "required"}, {"domain": "good.test", "tls": "preferred"},
            {"domain": ".good.test", "tls": "required"}], delivery={"retry": ["1h"]}))
    send(gateway, sender="one@sender.test")
    send(gateway, sender="two@sender.test", recipients="bob@must.good.test")
    gateway.tracked("delivered", sender="one@sender.test")
    gateway.tracked("deferred", sender="two@sender.test")
    assert [m.sender for m in peer.messages] == ["one@sender.test"]


@pytest.mark.parametrize("destinations,reason", [(None, "TLS is preferred by default"),
    ([{"domain": "default", "tls": "preferred"}], "TLS is preferred by destination `default`"),
    ([{"domain": "good.test", "tls": "preferred"}], "TLS is preferred for this destination")])
def test_B51_without_a_destination_entry_tls_is_preferred(make_gateway, make_peer, destinations, reason):
    peer = make_peer()
    gateway = make_gateway(next_hop=peer.address, destinations=destinations)
    send(gateway)
    record = gateway.tracked("delivered", sender="alice@sender.test")
    tls = record["recipients"][0]["attempts"][0]["tls"]
    assert (tls["desired"], tls["obtained"]) == ("preferred", "encrypted")
    assert reason in tls["reason"], tls


# Temporary failures


@pytest.mark.parametrize("stage,reply", [("mail", "450 4.1.8 not now"), ("rcpt", "451 4.2.1 mailbox busy"),
    ("data", "452 4.3.1 no room"), ("dot", "451 4.3.0 try again")])
def test_4xx_is_deferred_then_delivered(make_gateway, make_peer, stage, reply):
    good = "354 go on" if stage == "data" else "250 2.0.0 ok"
    peer = make_peer(**{stage: [reply, good]})
    gateway = make_gateway(next_hop=peer.address, delivery={"retry": ["1s"]})
    send(gateway)
    record = gateway.tracked("delivered", sender="alice@sender.test")
    first, second = record["recipients"][0]["attempts"]
    assert first["reply"].startswith(reply[:9])
    assert second["reply"].startswith("250")
    assert len(peer.messages) == 1


def moment(attempt):
    head, fraction = re.fullmatch(r"(\S+?)(?:\.(\d+))?Z", attempt["time"]).groups()
    return time.mktime(time.strptime(head, "%Y-%m-%dT%H:%M:%S")) + float("0." + (fraction or "0"))


def test_back_off_follows_the_list_and_repeats_its_last_entry(make_gateway, make_peer):
    peer = make_peer(rcpt=["450 4.2.0 one", "450 4.2.0 two", "450 4.2.0 three", "250 2.1.5 ok"])
    gateway = make_gateway(next_hop=peer.address, delivery={"retry": ["1s", "2s"]})
    send(gateway)
    record = gateway.tracked("delivered", sender="alice@sender.test")
    times = [moment(a) for a in record["recipients"][0]["attempts"]]
    gaps = [b - a for a, b in zip(times, times[1:])]
    assert len(gaps) == 3
    for gap, least in zip(gaps, (1, 2, 2)):
        assert least - 0.2 <= gap < least + 8, gaps


def test_server_that_is_away_then_comes_back(make_gateway, make_peer):
    address = harness.free_address()
    gateway = make_gateway(next_hop=address, delivery={"retry": ["1s"]})
    send(gateway)
    (attempt, *_) = wait_attempts(gateway, 1, sender="alice@sender.test")
    assert attempt["reply"].startswith("4"), attempt
    assert gateway.counters()["queued"] == 1
    port = int(address.rsplit(":", 1)[1])
    peer = make_peer(address=("127.0.0.1", port))
    peer.wait()
    gateway.tracked("delivered", sender="alice@sender.test")


def test_waiting_mail_is_tried_soon_after_a_start_with_a_shorter_retry(make_gateway, make_peer):
    """README: what there is until there are queue commands."""
    address = harness.free_address()
    gateway = make_gateway(next_hop=address, delivery={"retry": ["1h"]})
    send(gateway)
    wait_attempts(gateway, 1, sender="alice@sender.test")
    gateway.stop()
    peer = make_peer(address=("127.0.0.1", int(address.rsplit(":", 1)[1])))
    gateway.configure(harness.settings(next_hop=address, delivery={"retry": ["100ms"]}))
    gateway.start()
    gateway.tracked("delivered", sender="alice@sender.test")
    peer.wait()


@pytest.mark.parametrize("greeting", ["554 5.3.2 go away", "421 4.3.2 not now"])
def test_2_09_refusing_greeting_is_deferred(make_gateway, make_peer, greeting):
    """[D] The next host, then defer: a server's greeting is no verdict on a mail."""
    peer = make_peer(greeting=greeting)
    gateway = make_gateway(next_hop=peer.address, delivery={"retry": ["1h"]})
    send(gateway)
    gateway.tracked("deferred", sender="alice@sender.test")
    assert peer.messages == []


def test_2_21_connection_lost_after_the_dot_is_retried(make_gateway, make_peer):
    peer = make_peer(close_after_dot=1)
    gateway = make_gateway(next_hop=peer.address, delivery={"retry": ["1s"]})
    send(gateway)
    record = gateway.tracked("delivered", sender="alice@sender.test")
    assert len(record["recipients"][0]["attempts"]) == 2
    assert len(peer.messages) == 1


def test_2_22_a_250_counts_whatever_happens_to_quit(make_gateway, make_peer):
    peer = make_peer(quit="")
    gateway = make_gateway(next_hop=peer.address)
    send(gateway)
    record = gateway.tracked("delivered", sender="alice@sender.test")
    assert len(record["recipients"][0]["attempts"]) == 1


def test_2_23_each_recipient_by_its_own_reply(make_gateway, make_peer):
    peer = make_peer(rcpt={"good@good.test": "250 2.1.5 ok", "later@good.test": ["450 4.2.0 later", "250 2.1.5 ok"],
        "never@good.test": "550 5.1.1 nobody"})
    gateway = make_gateway(next_hop=peer.address, delivery={"retry": ["2s"]})
    send(gateway, recipients=["good@good.test", "later@good.test", "never@good.test"])

    def states():
        records = gateway.track(sender="alice@sender.test")
        found = {r["address"]: r["state"] for record in records for r in record["recipients"]}
        return found if "queued" not in found.values() else None

    first = harness.wait_for("all three have an outcome", states)
    assert (first["good@good.test"], first["never@good.test"]) == ("delivered", "bounced")
    assert first["later@good.test"] in ("deferred", "delivered")
    harness.wait_for("the deferred one is delivered", lambda: states()["later@good.test"] == "delivered")
    assert sorted(r for m in peer.messages for r in m.recipients) == ["good@good.test", "later@good.test"]


@pytest.mark.parametrize("reply", ["99 what", "999 what", "25", "250 ok\r\nx", "250-never\r\n550 mixed", "\x00\x00"],
    ids=["99", "999", "short", "two lines", "mixed codes", "NUL"])
def test_2_20_nonsense_replies_defer(make_gateway, make_peer, reply):
    peer = make_peer(mail=reply)
    gateway = make_gateway(next_hop=peer.address, delivery={"retry": ["1h"]}, delivery_tls="none")
    send(gateway)

    def outcome():
        found = attempts(gateway, sender="alice@sender.test")
        return found

    harness.wait_for("an attempt", outcome)
    record = gateway.track(sender="alice@sender.test")[0]
    if reply != "250 ok\r\nx":  # a stray line behind a good reply may be noticed later
        assert record["recipients"][0]["state"] == "deferred"
        assert peer.messages == []
    assert record["recipients"][0]["state"] in ("deferred", "delivered")


def test_2_20_endless_reply_is_bounded(make_gateway, make_peer):
    peer = make_peer(mail="\r\n".join(["250-more"] * 20000) + "\r\n250 at last")
    gateway = make_gateway(next_hop=peer.address, delivery={"retry": ["1h"]})
    send(gateway)
    gateway.tracked("deferred", sender="alice@sender.test")


def test_2_24_message_larger_than_the_server_takes_is_not_sent(make_gateway, make_peer):
    peer = make_peer(size=1000)
    gateway = make_gateway(next_hop=peer.address)
    send(gateway, content=harness.message("large", "x" * 70 + "\r\n" * 1000))
    record = gateway.tracked("bounced", sender="alice@sender.test")
    assert "5.3.4" in record["recipients"][0]["attempts"][0]["reply"]
    assert not any("DATA" in session.verbs() for session in peer.sessions)


def test_2_15_connection_is_not_reused_for_mail_with_a_higher_demand(make_gateway, make_peer):
    """One server without TLS, two domains: what was opened in clear for one is never used for the other."""
    peer = make_peer(starttls="absent")
    gateway = make_gateway(harness.settings(accepted_domains=["good.test", "must.test"],
        routes=[{"domain": "default", "next_hop": peer.address}], delivery={"retry": ["1h"], "connections": 1},
        destinations=[{"domain": "good.test", "tls": "preferred"}, {"domain": "must.test", "tls": "required"}]))
    for n in range(3):
        send(gateway, sender=f"may{n}@sender.test")
        send(gateway, sender=f"must{n}@sender.test", recipients="bob@must.test")
    gateway.tracked("deferred", count=3, recipient="bob@must.test")
    gateway.tracked("delivered", count=3, recipient="bob@good.test")  # nor held up by the other's failure
    assert {m.recipients[0] for m in peer.messages} == {"bob@good.test"}
    for session in peer.sessions:
        assert not any("must.test" in line for line, _ in session.commands), session.commands


def test_a_failed_tls_demand_does_not_hold_up_mail_that_demands_less(make_gateway, make_peer):
    """The server can be reached: only the mail that must have TLS waits, however much of it there is."""
    peer = make_peer(starttls="absent")
    gateway = make_gateway(harness.settings(accepted_domains=["good.test", "must.test"],
        routes=[{"domain": "default", "next_hop": peer.address}], delivery={"retry": ["1h"]},
        destinations=[{"domain": "good.test", "tls": "preferred"}, {"domain": "must.test", "tls": "required"}]))
    for n in range(20):
        send(gateway, sender=f"must{n}@sender.test", recipients="bob@must.test")
    send(gateway)
    gateway.tracked("delivered", sender="alice@sender.test")


def test_slow_server(make_gateway, make_peer):
    peer = make_peer(pause=lambda: time.sleep(0.2))
    gateway = make_gateway(next_hop=peer.address)
    send(gateway)
    gateway.tracked("delivered", sender="alice@sender.test")


# What goes over the wire


def test_2_31_dots_are_stuffed(make_gateway, make_peer):
    peer = make_peer()
    gateway = make_gateway(next_hop=peer.address)
    body = ".\r\n..\r\n.a\r\n" + "x" * 5000 + ".\r\n.\r\n"
    content = harness.message("dots", body)
    send(gateway, content=content)
    (message,) = peer.wait()
    _, rest = harness.split_received(message.content)
    assert rest == content


def test_1_25_what_we_send_has_no_bare_cr_or_lf(make_gateway, make_peer):
    peer = make_peer()
    gateway = make_gateway(next_hop=peer.address)
    with smtp.Client(gateway.address()) as c:
        c.ehlo()
        c.expect("MAIL FROM:<alice@sender.test>", 250)
        c.expect("RCPT TO:<bob@good.test>", 250)
        c.expect("DATA", 354)
        c.send(b"Subject: x\r\n\r\none\rtwo\r.\rthree\r\r\nfour\r\n.\r\n")
        if c.read().code != 250:
            return  # refused: nothing is sent at all
    (message,) = peer.wait()
    bare = re.search(rb"\r(?!\n)|(?<!\r)\n", message.raw)
    assert bare is None, message.raw


def test_message_without_final_line_end_gets_one(make_gateway, make_peer):
    peer = make_peer()
    gateway = make_gateway(next_hop=peer.address)
    send(gateway, content=b"Subject: x\r\n\r\nlast line")
    (message,) = peer.wait()
    assert message.content.endswith(b"\r\nlast line\r\n")


def test_null_sender_goes_out_as_null_sender(make_gateway, make_peer):
    peer = make_peer()
    gateway = make_gateway(next_hop=peer.address)
    send(gateway, sender="")
    (message,) = peer.wait()
    assert message.sender == ""


def test_recipients_of_one_domain_share_a_transaction_and_domains_do_not(make_gateway, make_peer):
    peer, other = make_peer(), make_peer()
    gateway = make_gateway(harness.settings(accepted_domains=["good.test", "other.test"],
        routes=[{"domain": "good.test", "next_hop": peer.address}, {"domain": "other.test", "next_hop": other.address}]))
    send(gateway, recipients=["a@good.test", "b@good.test", "c@other.test"])
    gateway.tracked("delivered", sender="alice@sender.test")
    assert [m.recipients for m in peer.messages] == [["a@good.test", "b@good.test"]]
    assert [m.recipients for m in other.messages] == [["c@other.test"]]


def test_one_dead_destination_does_not_hold_up_another(make_gateway, make_peer):
    peer = make_peer()
    gateway = make_gateway(harness.settings(accepted_domains=["good.test", "dead.test"],
        routes=[{"domain": "good.test", "next_hop": peer.address},
            {"domain": "dead.test", "next_hop": harness.free_address()}]))
    for n in range(20):
        send(gateway, sender=f"d{n}@sender.test", recipients="x@dead.test")
    send(gateway)
    gateway.tracked("delivered", sender="alice@sender.test")
    assert gateway.counters()["queued"] == 20
