"""OCSP of the servers that mail is delivered to (E41, conformance 7.38 to 7.43), with OpenSSL's responder."""

import contextlib
import os
import re
import signal
import threading

import pytest

import dns
import harness
import ocsp
import peer as scripted
import smtp

USER, PASSWORD = "gateway@good.test", "correct horse battery"


@pytest.fixture
def responders():
    """responders() -> another Responder."""
    with contextlib.ExitStack() as stack:
        yield lambda *arguments: stack.enter_context(ocsp.Responder(*arguments))


@pytest.fixture
def start(make_gateway, tmp_path):
    """start(mode, urls, responders...) -> a gateway, a smart host whose certificate names these, and its Pki. Mail for any domain goes there."""
    with contextlib.ExitStack() as stack:

        def make(mode, urls=(), *served, allow=("127.0.0.1",), hosts=("127.0.0.1",), pki=None, **configuration):
            pki = pki or ocsp.Pki(tmp_path / f"server{len(list(tmp_path.iterdir()))}", urls)
            for responder in served:
                responder.pki = pki
            server = stack.enter_context(scripted.Peer(pki, offers=("AUTH PLAIN",)))
            routes = [{"domain": f"d{number}.test", "next_hop": f"{host}:{server.port}", "username": USER, "password_file": "secret"}
                for number, host in enumerate(hosts)]
            settings = harness.settings(**{"hostname": "out.good.test", "accepted_domains": [route["domain"] for route in routes],
                "routes": routes, "delivery": {"retry": ["1h"]}, "authorities": {"system": False, "custom": str(pki.ca)},
                "tls_profiles": [{"name": "asking", "ocsp": mode}], "destinations": [{"domain": "default", "tls_profile": "asking"}],
                "fetch": {"allow_networks": list(allow)}, "log": {"level": "debug"}, **configuration})
            gateway = make_gateway(settings, start=False)
            (gateway.folder / "secret").write_text(PASSWORD + "\n")
            (gateway.folder / "secret").chmod(0o600)
            return gateway.start(), server, pki
        yield make


def submit(gateway, number=0, sender="alice@sender.test"):
    smtp.submit(gateway.address(), sender, f"bob@d{number}.test", harness.message())


def attempt_of(gateway, state, sender="alice@sender.test"):
    return gateway.tracked(state, sender=sender)["recipients"][0]["attempts"][-1]


def send(gateway, state, sender="alice@sender.test"):
    """The attempt of one mail, which must end so."""
    submit(gateway, sender=sender)
    return attempt_of(gateway, state, sender)


# What the responder does -> the words of the reason where it does not vouch for the certificate; None: it does.
SAYS = {
    "good": None,
    "revoked": "OCSP says that the certificate is revoked: revoked since 2026-01-01T00:00:00.000Z (keyCompromise)",
    "unknown": "OCSP does not know the certificate",
    "try_later": "there is no OCSP answer about the certificate",
    "500": "there is no OCSP answer about the certificate",
    "nonsense": "there is no OCSP answer about the certificate",
    "silent": "there is no OCSP answer about the certificate",
    "no_responder": "the certificate names no OCSP responder",
}
FAULTS = {"try_later": ocsp.TRY_LATER, "500": 500, "nonsense": b"<html>", "silent": "silent"}
DETAILS = {"try_later": "the responder says: try later", "500": "the server answered with status 500", "nonsense": "it is no OCSP response",
    "silent": "it was not there in time"}


@pytest.mark.parametrize("mode,says", [("off", "good"), ("off", "revoked"), *((mode, says) for mode in ("lenient", "strict") for says in SAYS)])
def test_E41_7_41_the_table(start, responders, mode, says):
    responder = responders()
    responder.fault = FAULTS.get(says)
    gateway, server, pki = start(mode, [] if says == "no_responder" else [responder.url], responder)
    if says in ("revoked", "unknown"):
        pki.say(says)
    accepted = mode == "off" or says == "good" or (mode == "lenient" and says != "revoked")
    attempt = send(gateway, "delivered" if accepted else "deferred")
    verification = attempt["tls"]["verification"]
    assert len(responder.requests) == (mode != "off" and says != "no_responder")
    assert verification["result"] == ("verified" if accepted else "certificate-not-trusted")
    if mode == "off":
        assert "ocsp" not in verification["checked"] + verification["unchecked"] and not verification["reason"]
    elif says == "good":
        assert "ocsp" in verification["checked"] and not verification["reason"]
    else:
        assert verification["unchecked"] == ["ocsp"]
        assert SAYS[says] in verification["reason"] and DETAILS.get(says, "") in verification["reason"], verification
    if not accepted:
        assert attempt["reply"].startswith("450 4.7.5 TLS: credentials are sent only to a verified server; ")
        assert server.sessions[0].account is None and not {"AUTH", "MAIL"} & set(server.sessions[0].verbs())
    if mode != "off":
        word = "no_answer" if says in FAULTS else says
        assert gateway.counters()["ocsp_by"] == {key: int(key == word) for key in
            ("revoked", "unknown", "no_answer", "no_responder", "good", "not_needed")}
    told = re.findall(r" (?:info|warn) upkeep (ocsp_\w+) .*", gateway.stderr())
    assert told == ([] if mode == "off" or says == "no_responder" else ["ocsp_fetched" if says in ("good", "revoked") else "ocsp_failed"])


def test_7_41_the_next_responder_is_asked(start, responders):
    first, second = responders(), responders()
    first.fault = 500
    gateway, _, _ = start("strict", ["http://127.0.0.1:1/", first.url, second.url], first, second)
    assert "ocsp" in send(gateway, "delivered")["tls"]["verification"]["checked"]
    assert (len(first.requests), len(second.requests)) == (1, 1)


@pytest.mark.parametrize("mode", ["lenient", "strict"])
def test_7_43_addresses_of_the_inside_are_not_asked(start, responders, mode):
    """By address, and by a name whose address it is."""
    responder = responders()
    with dns.Server({"inside.test": dns.Zone("@ A 127.0.0.1")}) as names:
        urls = [responder.url, f"http://inside.test:{responder.port}/"]
        gateway, _, _ = start(mode, urls, responder, allow=(), dns=names.settings())
        verification = send(gateway, "deferred" if mode == "strict" else "delivered")["tls"]["verification"]
    assert "has no public address, and fetch.allow_networks does not name it" in verification["reason"]
    assert responder.requests == []


def test_7_43_nobody_is_asked_about_a_certificate_that_is_not_fine(start, responders, tmp_path):
    """For another host; then of an authority that is not trusted."""
    responder = responders()
    other = ocsp.Pki(tmp_path / "other", [responder.url], san="DNS:elsewhere.test")
    gateway, _, _ = start("strict", (), responder, pki=other)
    assert send(gateway, "deferred")["tls"]["verification"]["result"] == "certificate-host-mismatch"
    strange, trusted = ocsp.Pki(tmp_path / "strange", [responder.url]), harness.Pki(tmp_path / "trusted")
    gateway, _, _ = start("strict", (), responder, pki=strange, authorities={"system": False, "custom": str(trusted.ca)})
    assert send(gateway, "deferred")["tls"]["verification"]["result"] == "certificate-not-trusted"
    assert responder.requests == []


def test_one_request_for_all_who_ask_at_once_and_its_answer_is_kept(start, responders):
    """Two next hops with one certificate; the responder answers when both have begun TLS."""
    responder = responders()
    responder.gate = threading.Event()
    with dns.Server({"good.test": dns.Zone("gw A 127.0.0.1")}) as names:
        gateway, server, _ = start("strict", [responder.url], responder, hosts=("127.0.0.1", "gw.good.test"), dns=names.settings())
        for number in range(2):
            submit(gateway, number, f"{number}@sender.test")
        harness.wait_for("both are in TLS", lambda: sum(session.tls is not None for session in server.sessions) == 2)
        harness.wait_for("the responder is asked", lambda: responder.requests)
        responder.gate.set()
        for number in range(2):
            assert "ocsp" in attempt_of(gateway, "delivered", f"{number}@sender.test")["tls"]["verification"]["checked"]
        send(gateway, "delivered", "later@sender.test")
    assert len(responder.requests) == 1
    assert gateway.counters()["ocsp_by"]["good"] >= 2


def test_a_failure_is_not_tried_again_for_every_mail(start, responders):
    responder = responders()
    responder.fault = 500
    gateway, server, _ = start("lenient", [responder.url], responder)
    for number in range(3):
        verification = send(gateway, "delivered", f"{number}@sender.test")["tls"]["verification"]
        assert "status 500" in verification["reason"]
    assert len(responder.requests) == 1
    assert gateway.stderr().count(" ocsp_failed ") == 1


def test_a_stopped_upkeep_is_no_answer(start, responders):
    """Mail waits for it no longer than for a responder."""
    responder = responders()
    gateway, _, _ = start("lenient", [responder.url], responder)
    pid = gateway.roles()["upkeep"]["pid"]
    os.kill(pid, signal.SIGSTOP)
    try:
        assert "no answer came in time" in send(gateway, "delivered")["tls"]["verification"]["reason"]
    finally:
        os.kill(pid, signal.SIGCONT)
    assert responder.requests == []


def test_7_37_no_responder_is_asked_where_the_issuer_never_revokes(start, responders, tmp_path):
    pki = ocsp.Pki(tmp_path / "never")
    pki.issue(more="2.5.29.56=ASN1:NULL\n")
    gateway, _, _ = start("strict", (), pki=pki)
    assert "ocsp" in send(gateway, "delivered")["tls"]["verification"]["checked"]
    assert gateway.counters()["ocsp_by"]["not_needed"] == 1
