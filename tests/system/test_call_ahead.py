"""Call-ahead: whether a recipient exists is asked of the next hop at RCPT, remembered, and logged as `recipient_verified`."""

import concurrent.futures
import contextlib
import os
import re
import signal

import pytest

import harness
import smtp

YES, NO, LATER = "yes", "unknown", "later"
REFUSED = "550 5.1.1 no such user"
ON = {"call_ahead": "on"}


@pytest.fixture
def behind(make_gateway, make_peer):
    """behind(rcpt=..., configuration={...}) -> (gateway with call-ahead, its next hop)."""
    def start(configuration={}, cache="1h", **options):
        peer = make_peer(**options)
        configuration = dict({"recipients": dict(ON, cache=cache)}, **configuration)
        return make_gateway(next_hop=peer.address, **configuration), peer
    return start


@contextlib.contextmanager
def transaction(gateway, source=None):
    """A session after MAIL."""
    with smtp.Client(gateway.address(), source=source, timeout=90) as c:
        c.ehlo()
        c.expect("MAIL FROM:<alice@sender.test>", 250)
        yield c
        c.quit()


def rcpt(gateway, recipient):
    """(code, status) of one RCPT in a session of its own."""
    with transaction(gateway) as c:
        reply = c.do(f"RCPT TO:<{recipient}>")
        return reply.code, reply.status


def probes(peer):
    """The recipients that the next hop was asked about, without those that got mail."""
    with peer.lock:
        return [line[len("RCPT TO:<"):-1] for s in peer.sessions if "DATA" not in s.verbs() for line, _ in s.commands
            if line.startswith("RCPT TO:<")]


def answers(gateway):
    """(recipient, answer) of each event `recipient_verified`."""
    return re.findall(r" info deliver recipient_verified icid=\S+ recipient=(\S+) host=\S+ answer=(\S+) reply=", gateway.stderr())


def test_the_next_hop_decides(behind):
    """One mail to one that exists and one that does not; what is asked is what a report would do, in TLS."""
    gateway, peer = behind(rcpt={"gone@good.test": REFUSED})
    content = harness.message()
    with transaction(gateway) as c:
        c.expect("RCPT TO:<gone@good.test>", 550, "5.1.1")
        c.expect("RCPT TO:<bob@good.test>", 250, "2.1.5")
        assert c.data(content).code == 250
    (message,) = peer.wait()
    assert message.recipients == ["bob@good.test"] and message.content.endswith(content)
    assert probes(peer) == ["gone@good.test", "bob@good.test"]
    asked = peer.sessions[0]
    assert [v for v in asked.verbs() if v != "QUIT"] == ["EHLO", "STARTTLS", "EHLO", "MAIL", "RCPT"], asked.verbs()
    assert asked.tls and ("MAIL FROM:<>", True) in asked.commands
    assert answers(gateway) == [("gone@good.test", NO), ("bob@good.test", YES)]
    refused = [line for line in gateway.stderr().splitlines() if " recipient_refused " in line]
    assert len(refused) == 1 and "recipient=gone@good.test" in refused[0] and "the next hop does not know" in refused[0]
    gateway.tracked("refused", recipient="gone@good.test")


def test_an_answer_is_remembered(behind):
    """Yes and no alike, over sessions, whatever the case: one question each."""
    gateway, peer = behind(rcpt={"gone@good.test": REFUSED})
    with transaction(gateway) as c:
        for _ in range(3):
            c.expect("RCPT TO:<bob@good.test>", 250)
            c.expect("RCPT TO:<gone@good.test>", 550, "5.1.1")
    assert rcpt(gateway, "Bob@GOOD.test") == (250, "2.1.5")
    assert rcpt(gateway, "GONE@good.test") == (550, "5.1.1")
    assert probes(peer) == ["bob@good.test", "gone@good.test"]
    assert answers(gateway) == [("bob@good.test", YES), ("gone@good.test", NO)]


def test_an_answer_is_forgotten_after_a_while(behind):
    gateway, peer = behind(cache="1s", rcpt={"bob@good.test": [REFUSED, "250 2.1.5 ok"]})
    assert rcpt(gateway, "bob@good.test") == (550, "5.1.1")
    harness.wait_for("the next hop is asked again", lambda: rcpt(gateway, "bob@good.test") == (250, "2.1.5"))
    assert answers(gateway) == [("bob@good.test", NO), ("bob@good.test", YES)]


@pytest.mark.parametrize("reply", ["450 4.2.0 busy", "421 4.3.2 going down", "252 2.1.5 perhaps"])
def test_only_a_clear_no_is_a_no(behind, reply):
    """4xx is later; any 2xx is yes."""
    gateway, peer = behind(rcpt=reply)
    wanted = ((250, "2.1.5"), YES) if reply[0] == "2" else ((450, "4.1.1"), LATER)
    assert rcpt(gateway, "bob@good.test") == wanted[0]
    assert answers(gateway) == [("bob@good.test", wanted[1])]


def test_later_is_not_remembered(behind):
    gateway, peer = behind(rcpt={"bob@good.test": ["451 4.3.0 not now", "451 4.3.0 not now", "250 2.1.5 ok"]})
    with transaction(gateway) as c:
        c.expect("RCPT TO:<bob@good.test>", 450, "4.1.1")
        c.expect("RCPT TO:<bob@good.test>", 450, "4.1.1")
        c.expect("RCPT TO:<bob@good.test>", 250, "2.1.5")
        c.expect("RCPT TO:<bob@good.test>", 250, "2.1.5")
    assert answers(gateway) == [("bob@good.test", LATER)] * 2 + [("bob@good.test", YES)]


@pytest.mark.parametrize("options", [{"greeting": "554 5.7.1 not you"}, {"greeting": "421 4.3.2 full"}, {"mail": "550 5.7.1 no reports"},
    {"starttls": "absent"}, {"starttls": "refused"}, {"starttls": "broken"}],
    ids=["greeting 554", "greeting 421", "null sender refused", "no TLS", "TLS refused", "handshake fails"])
def test_a_next_hop_that_cannot_be_asked(behind, options):
    """Whatever stands between, where TLS is required too, says nothing about the recipient: the client tries again."""
    gateway, peer = behind({"delivery_tls": "required"}, **options)
    assert rcpt(gateway, "bob@good.test") == (450, "4.1.1")
    assert answers(gateway) == [("bob@good.test", LATER)]
    assert not any(s.said_in_clear("RCPT") for s in peer.sessions)


def test_a_next_hop_that_is_down(make_gateway, make_peer):
    address = harness.free_address()
    gateway = make_gateway(next_hop=address, recipients=ON)
    assert rcpt(gateway, "bob@good.test") == (450, "4.1.1")
    assert answers(gateway) == [("bob@good.test", LATER)]
    host, port = address.split(":")
    peer = make_peer(address=(host, int(port)))
    assert rcpt(gateway, "bob@good.test") == (250, "2.1.5"), "it is asked as soon as it is back"
    assert probes(peer) == ["bob@good.test"]


def test_a_next_hop_that_hangs_up(behind):
    """Instead of the reply to RCPT, then for good."""
    gateway, peer = behind(rcpt={"bob@good.test": "this is no reply"})
    assert rcpt(gateway, "bob@good.test") == (450, "4.1.1")
    peer.stop()
    assert rcpt(gateway, "bob@good.test") == (450, "4.1.1")
    assert answers(gateway) == [("bob@good.test", LATER)] * 2


def test_postmaster_and_abuse_always_reach_someone(behind):
    gateway, peer = behind(rcpt=REFUSED)
    with transaction(gateway) as c:
        for recipient in ("postmaster@good.test", "Postmaster@Good.test", "abuse@good.test", "ABUSE@good.test", "Postmaster"):
            c.expect(f"RCPT TO:<{recipient}>", 250, "2.1.5")
        c.expect("RCPT TO:<abuser@good.test>", 550, "5.1.1")
    assert probes(peer) == ["abuser@good.test"]
    assert answers(gateway) == [("abuser@good.test", NO)]


def test_other_domains_are_not_asked_about(behind):
    """What is refused anyway, and what is relayed for a client of ours."""
    gateway, peer = behind({"mail_flow_policies": [{"name": "accepted"}, {"name": "ours", "action": "relay"}],
        "sender_groups": [{"name": "ours", "networks": ["127.0.0.77"], "policy": "ours"}]}, rcpt=REFUSED)
    assert rcpt(gateway, "bob@elsewhere.test") == (550, "5.7.1")
    with transaction(gateway, source="127.0.0.77") as c:
        c.expect("RCPT TO:<bob@elsewhere.test>", 250)
    assert peer.sessions == [] and answers(gateway) == []


def test_the_list_is_asked_first(make_gateway, make_peer):
    """Who is not on it does not exist; who is, is asked about."""
    peer = make_peer(rcpt={"gone@good.test": REFUSED})
    gateway = make_gateway(start=False, next_hop=peer.address, recipients=dict(ON, file="people"))
    (gateway.folder / "people").write_text("bob@good.test\ngone@good.test\n")
    gateway.start()
    assert rcpt(gateway, "stranger@good.test") == (550, "5.1.1")
    assert rcpt(gateway, "gone@good.test") == (550, "5.1.1")
    assert rcpt(gateway, "bob@good.test") == (250, "2.1.5")
    assert answers(gateway) == [("gone@good.test", NO), ("bob@good.test", YES)]


def test_20_clients_at_once(behind):
    """Each with recipients of its own and with common ones: every one hears what belongs to it."""
    wanted = {f"user{n}@good.test": [(250, YES), (550, NO), (450, LATER)][n % 3] for n in range(60)}
    replies = {250: "250 2.1.5 ok", 550: REFUSED, 450: "451 4.3.0 not now"}
    gateway, peer = behind(rcpt={recipient: replies[code] for recipient, (code, _) in wanted.items()})
    names = list(wanted)

    def run(n):
        with transaction(gateway) as c:
            return {name: c.do(f"RCPT TO:<{name}>").code for name in names[3 * n:3 * n + 3] + names[:3]}

    with concurrent.futures.ThreadPoolExecutor(20) as pool:
        heard = list(pool.map(run, range(20)))
    for replies in heard:
        assert replies == {name: wanted[name][0] for name in replies}
    assert dict(answers(gateway)) == {name: answer for name, (_, answer) in wanted.items()}
    asked = probes(peer)
    assert all(asked.count(name) == 1 for name in names[3:] if wanted[name][0] != 450)
    assert len(asked) == len(answers(gateway))


def test_a_real_server_behind(make_gateway, sink):
    """The sink takes everybody; questions leave no mail there."""
    gateway = make_gateway(next_hop=sink.address, recipients=ON)
    smtp.submit(gateway.address(), "alice@sender.test", "bob@good.test", harness.message())
    gateway.tracked("delivered", recipient="bob@good.test")
    assert answers(gateway) == [("bob@good.test", YES)]
    assert [m["recipients"] for m in sink.messages] == [["bob@good.test"]]


def test_role_deliver_dies(behind):
    """Meanwhile it is 450; what was remembered still counts."""
    gateway, peer = behind()
    assert rcpt(gateway, "bob@good.test") == (250, "2.1.5")
    before = gateway.roles()["deliver"]["pid"]
    os.kill(before, signal.SIGKILL)
    codes = set()

    def is_taken():
        codes.add(rcpt(gateway, "carol@good.test"))
        return (250, "2.1.5") in codes

    assert rcpt(gateway, "bob@good.test") == (250, "2.1.5")
    harness.wait_for("the next hop can be asked again", is_taken)
    assert codes <= {(450, "4.1.1"), (250, "2.1.5")}
    assert probes(peer) == ["bob@good.test", "carol@good.test"]


def test_it_is_switched_by_a_reload(behind):
    gateway, peer = behind(rcpt=REFUSED)
    assert rcpt(gateway, "bob@good.test") == (550, "5.1.1")
    gateway.configure(harness.settings(next_hop=peer.address))
    assert gateway.command("reload").returncode == 0
    assert rcpt(gateway, "bob@good.test") == (250, "2.1.5")
    assert answers(gateway) == [("bob@good.test", NO)]
