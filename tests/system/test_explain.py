"""`postern explain`: where mail would go, what is demanded there, what would come of it; nothing is sent."""

import json

import pytest

import harness
import peer as scripted
import smtp


def explain(gateway, domain, *arguments):
    """(exit status, answer)"""
    done = gateway.command("explain", domain, *arguments, "--json", timeout=120)
    return done.returncode, json.loads(done.stdout) if done.stdout else done.stderr


def words(server):
    """What is demanded of the certificate; and the sources in their order."""
    return server["policy"]["checks"], [demand["source"] for demand in server["policy"]["demands"]]


@pytest.mark.parametrize("level,starttls,want", [
    ("preferred", "good", (0, "encrypted")),
    ("preferred", "absent", (0, "clear")),
    ("preferred", "broken", (1, "nothing")),
    ("none", "good", (0, "clear")),
    ("required", "good", (0, "encrypted")),
    ("required", "absent", (1, "nothing")),
    ("required", "refused", (1, "nothing")),
])
def test_what_a_delivery_would_do(make_gateway, make_peer, level, starttls, want):
    peer = make_peer(starttls=starttls)
    gateway = make_gateway(next_hop=peer.address, delivery_tls=level)
    status, answer = explain(gateway, "good.test", "--live")
    (server,) = answer["servers"]
    assert (status, server["live"]["sent"]) == want, server
    assert answer["verdict"] == ("met" if status == 0 else "not-met")
    assert server["address"] == peer.address and answer["way"]["destination"] == peer.address
    assert (server["facts"]["level"], server["facts"]["level_from"]) == (level, "default")
    assert server["policy"]["reason"] and server["live"]["reason"]
    if want[1] == "encrypted":
        tls = server["live"]["tls"]
        assert tls["protocol"] == "TLSv1.3" and tls["cipher"] and tls["group"]
        assert server["live"]["signature"] == "ECDSA SHA256"
        assert [c["subject"] for c in server["live"]["chain"]] == ["CN=gw.good.test,O=Test"]
        assert "gw.good.test" in server["live"]["chain"][0]["names"]
    for session in peer.wait_sessions():
        assert set(session.verbs()) <= {"EHLO", "STARTTLS", "QUIT"}
    assert peer.messages == [] and gateway.track(since="1h") == [], "nothing is sent, and there is no mail"

    text = gateway.command("explain", "someone@GOOD.test", "--live")
    assert text.returncode == status
    assert "mail would be sent " + {"encrypted": "in TLS, not verified", "clear": "in clear", "nothing": "not at all"}[want[1]] in text.stdout
    assert server["policy"]["reason"] in text.stdout and peer.address in text.stdout


@pytest.mark.parametrize("level", ["none", "preferred", "required", "preferred-verify", "required-verify", "required-verify-hosted"])
@pytest.mark.parametrize("domain,starttls", [("gw.good.test", "good"), ("good.test", "good"), ("good.test", "absent"), ("good.test", "broken")])
def test_a_delivery_then_does_what_was_said(make_gateway, make_peer, level, domain, starttls):
    """Facts, demands and outcome of the tracking record are those of the explanation (the certificate is for gw.good.test)."""
    peer = make_peer(starttls=starttls)
    gateway = make_gateway(accepted_domains=[domain], routes=[{"domain": "default", "next_hop": peer.address}], delivery_tls=level, delivery={"retry": ["1h"]})
    status, answer = explain(gateway, domain, "--live")
    (server,) = answer["servers"]
    smtp.submit(gateway.address(), "a@sender.test", f"b@{domain}", harness.message())
    record = gateway.tracked("delivered" if status == 0 else "deferred", recipient=f"b@{domain}")
    tls = record["recipients"][0]["attempts"][0]["tls"]
    assert (tls["facts"], tls["policy"]) == (server["facts"], server["policy"])
    assert server["live"]["sent"] == ("nothing" if status else "clear" if tls["obtained"] == "none" else tls["obtained"])
    if tls["connection"] is not None:
        assert tls["connection"]["outcome"] == server["live"]["connection"]["outcome"]
        assert set(tls["connection"]["passed"]) <= set(server["live"]["connection"]["passed"])


def test_C13_a_failed_handshake_with_retry_without_tls(make_gateway, make_peer):
    """Mail would go in clear; asking puts nobody on the temporary list."""
    peer = make_peer(starttls="broken")
    gateway = make_gateway(next_hop=peer.address, tls={"retry_without_tls": True}, destinations=[{"domain": "default", "tls": "preferred"},
        {"domain": "must.test", "tls": "required"}], routes=[{"domain": "default", "next_hop": peer.address}])
    for command in (["explain", "good.test", "--live"], ["tls", "verify", "good.test"]):
        answer = json.loads(gateway.command(*command, "--json").stdout)
        live = answer["servers"][0]["live"]
        assert live["sent"] == "clear" and "retry_without_tls" in live["reason"], live
    assert live["levels"]["preferred"]["sent"] == "clear" and live["levels"]["required"]["sent"] == "nothing"
    assert explain(gateway, "good.test", "--live")[0] == 0
    assert explain(gateway, "must.test", "--live")[0] == 1
    assert gateway.json("tls", "temporary")["hosts"] == []


def test_what_fails_after_the_handshake_counts(make_gateway, make_peer):
    """TLS is fine, and the server then refuses EHLO."""
    peer = make_peer(starttls="good", ehlo=["250-mx.good.test\r\n250 STARTTLS", "421 4.3.0 not now"])
    gateway = make_gateway(next_hop=peer.address)
    status, answer = explain(gateway, "good.test", "--live")
    live = answer["servers"][0]["live"]
    assert (status, live["sent"]) == (1, "nothing") and "not now" in live["reason"], live


@pytest.mark.parametrize("implicit", [False, True], ids=["starttls", "implicit_tls"])
def test_a_server_that_is_rejected_shows_its_certificates_too(make_gateway, make_peer, implicit):
    """It is for gw.good.test, and this domain wants another one."""
    peer = make_peer(implicit_tls=implicit)
    gateway = make_gateway(routes=[{"domain": "default", "next_hop": peer.address, "implicit_tls": implicit}], delivery_tls="required-verify")
    status, answer = explain(gateway, "other.test", "--live")
    live = answer["servers"][0]["live"]
    assert (status, live["sent"], live["open"], live["signature"]) == (1, "nothing", False, "ECDSA SHA256")
    shown, = live["chain"]
    assert shown["subject"] == "CN=gw.good.test,O=Test" and shown["issuer"] == "CN=Test CA,O=Test" and shown["not_before"] < shown["not_after"]
    text = gateway.command("explain", "other.test", "--live").stdout
    assert "ECDSA SHA256\n" in text and f"1. CN=gw.good.test,O=Test, issued by CN=Test CA,O=Test, from {shown['not_before']} until {shown['not_after']}, " in text, text


@pytest.mark.parametrize("starttls,level,status,cause", [
    ("good", "preferred", 0, "mail would be sent in clear: the host is listed in tls.starttls_never"),
    ("silent", "preferred", 75, "the TLS handshake failed: Connection timed out"),
    ("silent", "required", 75, "the TLS handshake failed: Connection timed out"),
    ("mute", "preferred", 75, "mail would be sent not at all: 450 4.4.2 no greeting from the peer: "),
])
def test_the_last_word_names_the_cause(make_gateway, make_peer, starttls, level, status, cause):
    """And who says nothing is asked again later, wherever that begins."""
    mute = {"greeting": scripted.silent} if starttls == "mute" else {"starttls": starttls}
    peer = make_peer(**mute)
    gateway = make_gateway(next_hop=peer.address, delivery_tls=level, tls={"starttls_never": ["good.test"] if starttls == "good" else []},
        delivery={"timeouts": {"greeting": "500ms", "starttls": "500ms"}})
    done = gateway.command("explain", "good.test", "--live")
    last = done.stdout.splitlines()[-1]
    assert (done.returncode, cause in last) == (status, True), done.stdout
    if starttls == "silent":
        assert gateway.command("tls", "verify", "good.test").returncode == 75


def test_without_live_nobody_is_dialled(make_gateway, make_peer):
    peer = make_peer()
    gateway = make_gateway(next_hop=peer.address, delivery_tls="required")
    status, answer = explain(gateway, "good.test")
    (server,) = answer["servers"]
    assert status == 0 and server["live"] is None and server["policy"]["tls"] == "must"
    assert peer.sessions == []
    assert "because " + server["policy"]["reason"] in gateway.command("explain", "good.test").stdout


def test_an_entry_for_the_domain_and_a_reload(make_gateway, make_peer):
    peer = make_peer()
    options = {"next_hop": peer.address, "destinations": [{"domain": "default", "tls": "preferred"}, {"domain": ".good.test", "tls": "required"}]}
    gateway = make_gateway(**options, accepted_domains=["sub.good.test"], routes=[{"domain": "default", "next_hop": peer.address}])
    assert explain(gateway, "sub.good.test")[1]["servers"][0]["facts"]["level_from"] == "destination"
    assert explain(gateway, "other.test")[1]["servers"][0]["facts"]["level_from"] == "default"
    assert "level required by `.good.test` in destinations; DANE opportunistic by default: nobody" in gateway.command("explain", "sub.good.test").stdout
    assert explain(gateway, "other.test")[1]["servers"][0]["facts"]["level_entry"] == "default"
    generation = explain(gateway, "sub.good.test")[1]["generation"]
    gateway.configure(harness.settings(**{**options, "destinations": [{"domain": "sub.good.test", "tls": "none"}]}, accepted_domains=["sub.good.test"],
        routes=[{"domain": "default", "next_hop": peer.address}]))
    assert gateway.command("reload").returncode == 0
    status, answer = explain(gateway, "sub.good.test")
    assert status == 0 and answer["generation"] == generation + 1 and answer["servers"][0]["policy"]["tls"] == "never"


def test_what_is_not_known_now_is_75(make_gateway):
    gateway = make_gateway(next_hop=harness.free_address())
    status, answer = explain(gateway, "good.test", "--live")
    assert status == 75 and answer["verdict"] == "temporary" and "cannot connect" in answer["servers"][0]["live"]["reply"]
    assert explain(gateway, "good.test")[0] == 0, "the plan itself is fine"
    gateway.stop()
    status, error = explain(gateway, "good.test")
    assert status == 75 and "no gateway is running" in error


def test_a_domain_is_asked_for_as_operators_write_it(make_gateway):
    """With a dot at the end, letters beyond ASCII, or a whole address; what is none is a usage error."""
    gateway = make_gateway(routes=[{"domain": "default", "next_hop": harness.free_address()}], destinations=[{"domain": "default", "tls": "preferred"}, {"domain": "good.test", "tls": "required"},
        {"domain": "xn--mller-kva.test", "tls": "required"}])
    for domain in ("good.test.", "b@GOOD.test.", "m\u00fcller.test", "b@m\u00fcller.test."):
        answer = explain(gateway, domain)[1]
        assert answer["domain"] in ("good.test", "xn--mller-kva.test") and answer["servers"][0]["facts"]["level"] == "required", answer
    for domain, word in (("", "such as example.com"), (".", "such as example.com"), ("a@", "such as example.com"), ("bad domain", "such as example.com"),
            ("a..test", "such as example.com"), ("a.test..", "such as example.com"), ("127.0.0.1", "in brackets"), ("2001:db8::1", "in brackets")):
        for command in (["explain"], ["tls", "verify"], ["dane", "verify"]):
            done = gateway.command(*command, domain)
            assert done.returncode == 2 and word in done.stderr and f"`{domain}` is not a domain" in done.stderr, (command, done)
    assert explain(gateway, "[127.0.0.1]")[0] == 0


def test_strange_domains_are_answered(make_gateway):
    """Whatever stands on the command line, role deliver lives on."""
    gateway = make_gateway(routes=[{"domain": "good.test", "next_hop": harness.free_address()}])
    deliver = gateway.roles()["deliver"]["pid"]
    for domain in ("", "a b", "\udcff\udcfe.test", "[127.0.0.1]", "x" * 5000, "-", "..", "a@", "m\u00fcller.test", "a\r\nb"):
        for command in (["explain", domain], ["explain", domain, "--live", "--json"], ["tls", "verify", domain, "--json"], ["dane", "verify", domain],
                ["dane", "verify", "x.test", "--host", domain, "--json"]):
            assert gateway.command(*command).returncode in (0, 1, 2, 75), command
    role = gateway.roles()["deliver"]
    assert (role["pid"], role["restarts"]) == (deliver, 0)


def test_explain_says_what_is_wrong(make_gateway):
    gateway = make_gateway(start=False)
    for arguments in ([], ["a.test", "b.test"], ["a.test", "--alive"]):
        assert gateway.command("explain", *arguments).returncode == 2
    done = gateway.command("explain", "--help")
    assert done.returncode == 0 and "--live" in done.stdout and "75" in done.stdout
