"""The switch for all TLS, `tls.enabled` (requirement F4): off, nothing is in TLS, and what demands TLS gets no mail."""

import json

import pytest

import harness
import smtp
from test_outbound_joined import GOOD, Scene
from test_outbound_tls import own_pki  # noqa: F401 (a fixture)

OFF = {"enabled": False}
BANNER = "all mail comes and goes in clear, and what demands TLS is refused or waits"


def deliver(gateway, state, recipient="bob@good.test"):
    """The evidence of the one attempt, with its reply."""
    smtp.submit(gateway.address(), "alice@sender.test", recipient, harness.message(), tls=False)
    attempt = gateway.tracked(state, recipient=recipient)["recipients"][0]["attempts"][-1]
    return {**attempt["tls"], "reply": attempt["reply"]}


def test_F4_a_listener_neither_offers_nor_takes_starttls(make_gateway, sink):
    with smtp.Client(make_gateway(next_hop=sink.address, listener_tls="preferred", tls=OFF).address()) as c:
        assert "STARTTLS" not in c.ehlo().offers
        c.expect("STARTTLS", 502, "5.5.1")
        assert c.mail("a@sender.test", "bob@good.test", harness.message()).status == "2.0.0"
        c.quit()


def test_F4_a_policy_that_requires_tls_refuses_all_mail(make_gateway, sink):
    with smtp.Client(make_gateway(next_hop=sink.address, listener_tls="required", tls=OFF).address()) as c:
        assert "STARTTLS" not in c.ehlo().offers
        c.expect("MAIL FROM:<a@sender.test>", 530, "5.7.0")
        c.expect("STARTTLS", 502, "5.5.1")
        c.expect("MAIL FROM:<a@sender.test>", 530, "5.7.0")
        c.quit()


def test_F4_deliveries_never_send_starttls(make_gateway, make_peer):
    peer = make_peer()
    gateway = make_gateway(next_hop=peer.address, tls=OFF)
    evidence = deliver(gateway, "delivered")
    assert gateway.tracked("delivered", recipient="bob@good.test")["inbound"]["tls"]["reason"] == "tls.enabled is off"
    assert (evidence["desired"], evidence["obtained"]) == ("none", "none") and "tls.enabled is off" in evidence["reason"]
    assert evidence["policy"]["decided_by"] == "tls-off" and evidence["policy"]["tls"] == "never" and evidence["facts"]["tls_off"]
    assert "STARTTLS" not in peer.sessions[0].verbs()
    explained = gateway.json("explain", "good.test")
    assert "tls-off" in json.dumps(explained) and "tls.enabled is off" in gateway.command("explain", "good.test").stdout


# what demands TLS all the same -> who is named
DEMANDS = {
    "required": ({"delivery_tls": "required"}, "destination-required"),
    "required-verify": ({"delivery_tls": "required-verify"}, "destination-required"),
    "required-verify-hosted": ({"delivery_tls": "required-verify-hosted"}, "destination-required"),
    "mandatory DANE": ({"destinations": [{"domain": "default", "tls": "preferred", "dane": "mandatory"}]}, "dane-mandatory"),
    "required list": ({"tls": {**OFF, "starttls_required": ["127.0.0.1"]}}, "required-list"),
    "both lists": ({"tls": {**OFF, "starttls_required": ["127.0.0.1"], "starttls_never": ["127.0.0.1"]}}, "required-list"),
    "route": ({"implicit_tls": True}, "route"),
}


@pytest.mark.parametrize("demand", DEMANDS)
def test_F4_F2_what_demands_tls_waits_and_the_conflict_is_logged(make_gateway, make_peer, demand):
    options, source = DEMANDS[demand]
    peer = make_peer()
    implicit = options.get("implicit_tls", False)
    gateway = make_gateway(**{"tls": OFF, "delivery": {"retry": ["1h"]}, **{k: v for k, v in options.items() if k != "implicit_tls"},
        "routes": [{"domain": "good.test", "next_hop": str(peer.address), **({"implicit_tls": True} if implicit else {})}]})
    evidence = deliver(gateway, "deferred")
    assert evidence["reply"].startswith("450 4.7.5 TLS: ") and evidence["reply"].endswith("but tls.enabled is off"), evidence["reply"]
    assert evidence["policy"]["conflict"] and evidence["policy"]["decided_by"] == source
    assert not peer.sessions and not peer.messages
    harness.wait_for(gateway.stderr, lambda: "tls_conflict" in gateway.stderr())
    warned = [w["key"] for w in json.loads(gateway.command("check", "--json").stdout)["warnings"]]
    assert "tls.enabled" in warned and len(warned) > 1, warned


def test_F4_the_banner(make_gateway, make_peer):
    """In `check`, `status` and the log, as long as it is off."""
    peer = make_peer()
    gateway = make_gateway(next_hop=peer.address, tls=OFF)
    done = gateway.command("check")
    assert done.returncode == 0 and "tls.enabled: TLS is switched off: " + BANNER in done.stderr, done
    assert gateway.json("status")["tls"] == {"enabled": False}
    assert gateway.command("status").stdout.splitlines()[1] == "TLS IS SWITCHED OFF (tls.enabled): " + BANNER
    assert gateway.stderr().count(" tls_off ") == 1
    assert gateway.command("reload").returncode == 0
    harness.wait_for(gateway.stderr, lambda: gateway.stderr().count(" tls_off ") == 2)

    gateway.configure(harness.settings(next_hop=peer.address))
    assert gateway.command("reload").returncode == 0
    assert gateway.json("status")["tls"] == {"enabled": True}
    assert "SWITCHED OFF" not in gateway.command("status").stdout and "tls.enabled" not in gateway.command("check").stderr
    smtp.submit(gateway.address(), "after@sender.test", "bob@good.test", harness.message())
    record = gateway.tracked("delivered", sender="after@sender.test")
    assert record["inbound"]["tls"]["obtained"] == "encrypted" and record["recipients"][0]["attempts"][-1]["tls"]["obtained"] == "encrypted"
    assert gateway.stderr().count(" tls_off ") == 2


def test_F4_a_dry_run_knows_the_switch(make_gateway, make_peer):
    peer = make_peer()
    gateway = make_gateway(next_hop=peer.address, destinations=[{"domain": "default", "tls": "required", "dane": "none"}])
    smtp.submit(gateway.address(), "alice@sender.test", "bob@good.test", harness.message())
    gateway.tracked("delivered", sender="alice@sender.test", since="1h")
    file = gateway.folder / "tried.yaml"
    for level, now in (("required", "nothing"), ("preferred", "clear")):
        file.write_text(f"tls: {{enabled: false}}\ndestinations: [{{domain: default, tls: {level}, dane: none}}]\n")
        result = json.loads(gateway.command("policy", "dry-run", "--since", "7d", "--destinations", str(file), "--json").stdout)
        assert [row["now"] for row in result["domains"]] == [{now: 1}], result
        assert (result["lost"], result["unknown"]) == (1 if now == "nothing" else 0, 0)


def test_F4_looking_at_a_server_is_not_switched_off(make_gateway, make_peer):
    gateway = make_gateway(next_hop=make_peer().address, tls=OFF)
    levels = json.loads(gateway.command("tls", "verify", "good.test", "--json").stdout)["servers"][0]["live"]["levels"]
    assert {level: result["sent"] for level, result in levels.items()} == {level: "nothing" if level.startswith("required") else "clear" for level in levels}
    done = gateway.command("dane", "verify", "good.test")
    assert done.returncode == 1 and "tls.enabled is off" in done.stdout, done


def test_F4_dane_that_nobody_asked_for_is_not_looked_up(make_gateway, make_peer, own_pki):  # noqa: F811
    """So what it would have said is not known to a dry run with the switch on."""
    scene = Scene(make_gateway, make_peer, own_pki, GOOD, tls=OFF)
    with scene.run() as gateway:
        evidence = deliver(gateway, "delivered", "bob@far.test")
        assert (evidence["obtained"], evidence["policy"]["decided_by"]) == ("none", "tls-off")
        assert evidence["facts"]["dane"]["setting"] == "opportunistic" and evidence["facts"]["dane"]["finding"] == "not-looked"
        file = gateway.folder / "tried.yaml"
        for tried, unknown in (("tls: {enabled: true}", 1), ("tls: {enabled: true}\ndestinations: [{domain: default, dane: none}]", 1),
                ("tls: {enabled: true}\ndestinations: [{domain: default, dane: mandatory}]", 1), ("tls: {enabled: false}", 0)):
            file.write_text(tried + "\n")
            result = json.loads(gateway.command("policy", "dry-run", "--since", "7d", "--destinations", str(file), "--json").stdout)
            assert result["unknown"] == unknown, (tried, result)
