"""Staples of our own (conformance 7.42): what handshakes show, as openssl s_client and gnutls-cli see it, with OpenSSL's responder."""

import contextlib
import re
import shutil
import subprocess

import pytest

import harness
import ocsp

MUST = "1.3.6.1.5.5.7.1.24=DER:30:03:02:01:05\n"


@pytest.fixture
def responders():
    with contextlib.ExitStack() as stack:
        yield lambda *arguments: stack.enter_context(ocsp.Responder(*arguments))


def make_pki(folder, responder, name=None, with_issuer=True, more=""):
    """A certificate whose chain holds its issuer, which `responder` knows."""
    pki = ocsp.Pki(folder)
    pki.issue([responder.url], san=f"DNS:{name or harness.HOSTNAME}", more=more)
    if with_issuer:
        pki.server.write_text(pki.server.read_text() + pki.ca.read_text())
    responder.pki = pki
    return pki


@pytest.fixture
def start(make_gateway):
    """start(pki, ...) -> a gateway with these certificates on one listener."""
    def make(*pkis, allow=("127.0.0.1",), **configuration):
        certificates = [{"name": f"c{number}", "chain": f"own/{number}.pem", "key": f"own/{number}.key"} for number in range(len(pkis))]
        settings = harness.settings(**{"certificates": certificates, "fetch": {"allow_networks": list(allow)},
            "listeners": [{"name": "inbound", "type": "public", "address": "127.0.0.1:0", "policy": "accepted",
                "certificate": [certificate["name"] for certificate in certificates]}], **configuration})
        gateway = make_gateway(settings, start=False)
        (gateway.folder / "own").mkdir()
        for number, pki in enumerate(pkis):
            install(gateway, number, pki)
        return gateway.start()
    return make


def install(gateway, number, pki):
    shutil.copy(pki.server, gateway.folder / "own" / f"{number}.pem")
    shutil.copy(pki.key, gateway.folder / "own" / f"{number}.key")


def s_client(gateway, *more):
    done = subprocess.run(["openssl", "s_client", "-starttls", "smtp", "-status", "-connect", "%s:%d" % gateway.address(), *map(str, more)],
        input="QUIT\r\n", capture_output=True, text=True, timeout=harness.PATIENCE, env=harness.environment())
    return done.stdout + done.stderr


def serial_shown(gateway, *more):
    """Of the certificate that the staple is about; None: there is none."""
    shown = s_client(gateway, *more)
    if "OCSP response: no response sent" in shown:
        return None
    assert "OCSP Response Status: successful (0x0)" in shown and "Cert Status: good" in shown, shown
    return re.search(r"Serial Number: (\w+)", shown)[1]


def renewed(gateway, count=1):
    harness.wait_for("the staple is there", lambda: gateway.stderr().count(" staple_renewed ") >= count)


@pytest.mark.parametrize("version", ["-tls1_2", "-tls1_3"])
def test_7_42_the_handshake_shows_what_the_responder_said(start, responders, tmp_path, version):
    pki = make_pki(tmp_path / "own", responder := responders())
    gateway = start(pki)
    renewed(gateway)
    assert serial_shown(gateway, version) == pki.serial
    assert serial_shown(gateway, version) == pki.serial
    assert len(responder.requests) == 1, "it is fetched ahead, not for each client"


@pytest.mark.skipif(shutil.which("gnutls-cli") is None, reason="gnutls-cli is not installed")
def test_7_42_gnutls_accepts_the_staple(start, responders, tmp_path):
    pki = make_pki(tmp_path / "own", responders(), more=MUST)
    gateway = start(pki)
    renewed(gateway)
    host, port = gateway.address()
    done = subprocess.run(["gnutls-cli", "--starttls-proto=smtp", "--x509cafile", pki.ca, "--sni-hostname", harness.HOSTNAME, "--verify-hostname",
        harness.HOSTNAME, "--ocsp", "-p", str(port), host], input="QUIT\r\n", capture_output=True, text=True, timeout=harness.PATIENCE,
        env=harness.environment())
    assert "The certificate is trusted" in done.stdout and re.search(r"Options: .*OCSP status request", done.stdout), done.stdout + done.stderr


def test_7_42_each_certificate_of_a_listener_has_its_own(start, responders, tmp_path):
    """Never that of another one: by name, and for a name that none has."""
    first = make_pki(tmp_path / "first", one := responders(), "a.good.test")
    second = make_pki(tmp_path / "second", two := responders(), "b.good.test")
    two.fault = 500
    gateway = start(first, second)
    renewed(gateway)
    harness.wait_for("both were asked", lambda: one.requests and two.requests)
    assert serial_shown(gateway, "-servername", "a.good.test") == first.serial
    assert serial_shown(gateway, "-servername", "b.good.test") is None
    assert serial_shown(gateway, "-servername", "c.good.test") == first.serial


def test_7_42_a_staple_that_is_over_is_not_shown(start, responders, tmp_path):
    """This answer ended a minute ago, which five minutes of skew allow for: it is taken, and not shown any more."""
    pki = make_pki(tmp_path / "own", responder := responders())
    responder.fault = pki.ended_answer()
    gateway = start(pki)
    renewed(gateway)
    assert serial_shown(gateway) is None
    assert len(responder.requests) == 1, "nor is the responder asked again and again"


@pytest.mark.parametrize("says", ["revoked", "unknown", "strange"])
def test_7_42_nothing_but_good_is_shown(start, responders, tmp_path, says):
    """`strange`: the answer of another authority, about a certificate of its own."""
    pki = make_pki(tmp_path / "own", responder := responders())
    if says == "strange":
        responder.pki = ocsp.Pki(tmp_path / "strange", [responder.url])
    else:
        pki.say(says)
    gateway = start(pki)
    harness.wait_for("it is said", lambda: " staple_failed " in gateway.stderr())
    assert serial_shown(gateway) is None


def test_7_42_a_reload_keeps_the_staple_and_replaces_it_with_the_certificate(start, responders, tmp_path):
    pki = make_pki(tmp_path / "own", responder := responders())
    gateway = start(pki)
    renewed(gateway)
    responder.fault = 500
    assert gateway.command("reload").returncode == 0
    assert serial_shown(gateway) == pki.serial, "the old one stays until it ends"
    assert len(responder.requests) == 1 and gateway.stderr().count(" staple_renewed ") == 1
    other = make_pki(tmp_path / "other", responder)
    install(gateway, 0, other)
    assert gateway.command("reload").returncode == 0
    assert serial_shown(gateway) is None, "and is never shown with another certificate"
    responder.fault = None


@pytest.mark.parametrize("what", ["no_answer", "no_issuer"])
def test_7_42_a_certificate_that_must_be_stapled_and_is_not(start, responders, tmp_path, what):
    pki = make_pki(tmp_path / "own", responder := responders(), with_issuer=what == "no_answer", more=MUST)
    responder.fault = 500
    gateway = start(pki)
    reason = "status 500" if what == "no_answer" else "its issuer is not in its chain"
    harness.wait_for("it is said", lambda: re.search(rf" error front staple_missing certificate=c0 .*{reason}", gateway.stderr()))
    assert serial_shown(gateway) is None
    warned = "own/0.pem must be shown with an answer of OCSP (must-staple), and will be refused without one: "
    checked = gateway.command("check")
    assert checked.returncode == 0 and ((warned + reason) in checked.stderr) == (what == "no_issuer"), checked.stderr
    text = gateway.file.read_text()
    gateway.configure(text + 'tls: {stapling: false}\n')
    assert warned + "stapling is off" in gateway.command("check").stderr


def test_7_42_stapling_can_be_switched_off(start, responders, tmp_path):
    pki = make_pki(tmp_path / "own", responder := responders())
    gateway = start(pki, tls={"stapling": False})
    assert serial_shown(gateway) is None
    assert responder.requests == [] and "staple" not in gateway.stderr()
