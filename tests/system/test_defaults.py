"""The files of examples/ that start as other products do (requirement F5): what mail does under each, as it stands but for the ports."""

import json

import pytest

import harness
import smtp


def start(make_gateway, name, peer, **changes):
    """A gateway with examples/defaults_NAME.yaml in front of the peer."""
    text = (harness.ROOT / f"examples/defaults_{name}.yaml").read_text()
    for old, new in {"127.0.0.1:2525": "127.0.0.1:0", "127.0.0.1:2526": "127.0.0.1:0", "127.0.0.1:2530": str(peer.address),
            "hostname: gw.good.test": f"hostname: gw.good.test\nuser: {harness.USER}", **changes}.items():
        assert old in text or old == "127.0.0.1:2526", old
        text = text.replace(old, new)
    return make_gateway(text)


def pass_on(gateway, sender, listener="inbound", tls=False):
    """What the record says of both legs of one mail."""
    smtp.submit(gateway.address(listener), sender, "bob@good.test", harness.message(), tls=tls)
    record = gateway.tracked("delivered", sender=sender)
    return record["inbound"]["tls"], record["recipients"][0]["attempts"][-1]["tls"]


def refuses_starttls(gateway, listener="inbound"):
    with smtp.Client(gateway.address(listener)) as c:
        assert "STARTTLS" not in c.ehlo().offers
        c.expect("STARTTLS", 502, "5.5.1")
        c.quit()


@pytest.mark.parametrize("name,listener", [("client_certificates", "inside"), ("mail_gateway", "inbound"), ("mail_gateway", "inside")])
def test_F5_gateways_that_say_no(make_gateway, make_peer, name, listener):
    """A45, B23, B73: no TLS on either side, although the server offers it, and nobody asks for TLSA records."""
    peer = make_peer()
    gateway = start(make_gateway, name, peer)
    refuses_starttls(gateway, listener)
    inbound, outbound = pass_on(gateway, "a@sender.test", listener)
    assert (inbound["desired"], inbound["obtained"], inbound["reason"]) == ("none", "none", "the listener does not offer TLS")
    assert (outbound["desired"], outbound["obtained"], outbound["policy"]["decided_by"]) == ("none", "none", "destination-none")
    assert outbound["facts"]["dane"]["setting"] == "none" and outbound["facts"]["level_from"] == "default"
    assert "STARTTLS" not in peer.sessions[0].verbs() and len(peer.messages) == 1
    assert gateway.json("status")["tls"] == {"enabled": True}


def test_F5_a_level_written_for_a_destination_counts_at_once(make_gateway, make_peer):
    """B36: nothing else of the file has to be changed for it."""
    gateway = start(make_gateway, "mail_gateway", make_peer(), **{
        "destinations:\n": "destinations:\n  - {domain: good.test, tls: required}\n"})
    inbound, outbound = pass_on(gateway, "a@sender.test")
    assert (inbound["obtained"], outbound["desired"], outbound["obtained"]) == ("none", "required", "encrypted")


def test_F5_C1_C5_a_gateway_with_one_switch(make_gateway, make_peer):
    """Off; on, when listeners offer TLS and deliveries use it for the required list only; and with `starttls_when_possible`."""
    peer = make_peer()
    gateway = start(make_gateway, "security_gateway", peer)
    refuses_starttls(gateway)
    inbound, outbound = pass_on(gateway, "off@sender.test")
    assert (inbound["obtained"], inbound["reason"]) == ("none", "tls.enabled is off")
    assert (outbound["obtained"], outbound["policy"]["decided_by"]) == ("none", "tls-off")
    assert "TLS IS SWITCHED OFF" in gateway.command("status").stdout

    steps = {"on": ({"enabled: false": "enabled: true"}, "none", "destination-none"),
        "list": ({"starttls_required: []": "starttls_required: [127.0.0.1]"}, "encrypted", "required-list"),
        "possible": ({"starttls_required: [127.0.0.1]": "starttls_required: []", "starttls_when_possible: false": "starttls_when_possible: true"},
            "encrypted", "destination-preferred")}
    text = gateway.file.read_text()
    for step, (changes, obtained, decided_by) in steps.items():
        for old, new in changes.items():
            assert text.count(old) == 1
            text = text.replace(old, new)
        gateway.configure(text)
        assert gateway.command("reload").returncode == 0
        inbound, outbound = pass_on(gateway, f"{step}@sender.test", tls=True)
        assert inbound["obtained"] == "encrypted"
        assert (outbound["obtained"], outbound["policy"]["decided_by"]) == (obtained, decided_by), (step, outbound)


@pytest.mark.parametrize("offered", [True, False], ids=["server_with_TLS", "server_without"])
@pytest.mark.parametrize("asked", [True, False], ids=["sender_with_TLS", "sender_without"])
def test_F5_E15_E29_a_proxy_takes_tls_where_it_can(make_gateway, make_peer, asked, offered):
    """Table E.5, optional for the sender, preferred for the recipient: the two sides do not depend on each other."""
    gateway = start(make_gateway, "smtp_proxy", make_peer(starttls="good" if offered else "absent"))
    inbound, outbound = pass_on(gateway, "a@sender.test", tls=asked)
    assert (inbound["desired"], inbound["obtained"]) == ("preferred", "encrypted" if asked else "none")
    assert (outbound["desired"], outbound["obtained"]) == ("preferred", "encrypted" if offered else "none")
    assert outbound["facts"]["dane"]["setting"] == "none"


def test_F5_what_check_says_of_them(make_gateway):
    for name, warned in {"client_certificates": [], "mail_gateway": [], "security_gateway": ["tls.enabled"], "smtp_proxy": []}.items():
        gateway = make_gateway((harness.ROOT / f"examples/defaults_{name}.yaml").read_text(), start=False)
        answer = json.loads(gateway.command("check", "--json").stdout)
        assert answer["ok"] and [w["key"] for w in answer["warnings"]] == warned, (name, answer)
