"""What is wanted of a server's certificate besides authority, dates and names, by setting: sound signatures, qualified names, revocation, TLSA
records of the usages 0 and 1. Requirements B46-B48, B59 (its last rows), B69."""

import hashlib
import ssl
import subprocess
import types

import pytest

import crl
import dns
import harness
from test_hosts import make_dns, outward, servers  # noqa: F401 (fixtures)
from test_outbound_tls import attempts, make_certificate, own_pki, send  # noqa: F401 (fixtures)

LEVELS = ["preferred", "required", "preferred-verify", "required-verify", "required-verify-hosted"]
# What is wrong with the certificate, and what is said of it.
FLAWS = {"weak": "key too weak", "short": "is no fully qualified name", "revoked": "the certificate is revoked"}


@pytest.fixture
def weak(own_pki):
    """By our authority, with a key of 1024 bits."""
    own_pki._openssl("req", "-newkey", "rsa:1024", "-nodes", "-keyout", "weak.key", "-out", "weak.csr", "-subj", "/CN=server",
        "-addext", "subjectAltName=DNS:*.weak.test")
    return types.SimpleNamespace(server=harness.sign_dated(own_pki.folder, "weak.csr", "weak.pem", -1, 30, "ca.key", own_pki.ca),
        key=own_pki.folder / "weak.key")


@pytest.fixture
def three(servers, own_pki, weak):
    """A server for each flaw: the port, the zones, and who signs a list of revoked certificates."""
    short = make_certificate(own_pki, "short", ["*.short.test", "localhost"])
    revoked = make_certificate(own_pki, "revoked", ["*.revoked.test"])
    port, peers = servers({"127.0.1.1": {"pki": own_pki}, "127.0.1.2": {"pki": short}, "127.0.1.3": {"pki": revoked}})
    peers[0].context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    peers[0].context.set_ciphers("DEFAULT:@SECLEVEL=0")
    peers[0].context.load_cert_chain(weak.server, weak.key)
    serial = crl.x509.load_pem_x509_certificate(revoked.server.read_bytes()).serial_number
    zones = {f"{flaw}.test": f"* MX 10 mx\nmx A 127.0.1.{n}" for n, flaw in enumerate(FLAWS, 1)}
    return port, zones, crl.Authority(own_pki).list([serial])


def expected(level, flaw, on):
    """(state, obtained, does the certificate hold). Weak keys never prove what is demanded; the switch is about the rest."""
    holds = not on and not (flaw == "weak" and level.startswith("required-"))
    if level.startswith("required-"):
        return ("delivered", "verified", True) if holds else ("deferred", "encrypted", False)
    return "delivered", "verified" if holds and level == "preferred-verify" else "encrypted", holds


@pytest.mark.parametrize("on", [False, True])
def test_B46_B47_B48_B59_what_else_is_wanted_by_setting(make_gateway, make_dns, own_pki, three, on):
    port, zones, revoked = three
    with crl.Server() as lists:
        lists.answers["/ca.crl"] = revoked
        switches = {"tls": {"x509_validation": True, "fqdn_validation": True}, "crl_sources": {"check": {"outbound_smtp": True},
            "sources": [{"name": "ca", "type": "asn1", "schedule": "weekly sunday 03:00", "primary": lists.url()}]}} if on else {}
        gateway = make_gateway(outward(port, make_dns(zones), authorities={"system": False, "custom": str(own_pki.ca)},
            destinations=[{"domain": f"{level}.{flaw}.test", "tls": level} for level in LEVELS for flaw in FLAWS], **switches))
        if on:
            harness.wait_for("the list is in use", lambda: gateway.status()["generation"] >= 2)
        for level in LEVELS:
            for flaw in FLAWS:
                send(gateway, f"{level}.{flaw}.test", f"{level}@{flaw}.test")
        for level in LEVELS:
            for flaw, words in FLAWS.items():
                state, obtained, holds = expected(level, flaw, on)
                attempt = attempts(gateway, state, f"{level}@{flaw}.test")[-1]
                evidence = attempt["tls"]
                check = evidence["checks"]["hosted" if level.endswith("hosted") else "domain"]
                case = (level, flaw, attempt["reply"], evidence["obtained"], check)
                assert evidence["obtained"] == obtained, case
                assert (check["result"] == "verified") == holds, case
                if not holds:
                    assert check["result"] == "certificate-not-trusted" and words in check["reason"], case
                if state == "deferred":
                    assert attempt["reply"].startswith("450 4.7.5 TLS: ") and words in attempt["reply"], case
        assert gateway.stderr().count(" tls_unverified ") == (3 if on else 0), "level 4, once for each flaw"


@pytest.mark.parametrize("setting,ours,state,obtained", [("unusable", True, "delivered", "encrypted"), ("enforce", True, "delivered", "verified"),
    ("enforce", False, "deferred", "encrypted")])
def test_B69_3_20_usages_0_and_1_count_by_setting(make_gateway, servers, own_pki, setting, ours, state, obtained):
    """Enforced, the record has to match, and an authority that we trust has to vouch, too."""
    certificate = make_certificate(own_pki, "pkix", ["mx.pkix.test"], ours=ours)
    port, (peer,) = servers({"127.0.1.1": {"pki": certificate}})
    der = subprocess.run(["openssl", "x509", "-in", str(certificate.server), "-outform", "DER"], capture_output=True, check=True).stdout
    text = f"@ MX 10 mx\nmx A 127.0.1.1\n_{port}._tcp.mx TLSA 1 0 1 {hashlib.sha256(der).hexdigest()}\n"
    with dns.Server({"pkix.test": dns.Zone(text, dns.SIGNED)}) as server:
        gateway = make_gateway(outward(port, server.settings(), authorities={"system": False, "custom": str(own_pki.ca)},
            tls={"dane_pkix_usages": setting}, destinations=[{"domain": "pkix.test", "tls": "preferred", "dane": "opportunistic"}]))
        send(gateway, "pkix.test", "a@sender.test")
        evidence = attempts(gateway, state, "a@sender.test")[-1]["tls"]
        assert evidence["obtained"] == obtained, evidence
        assert evidence["facts"]["dane"]["finding"] == ("unusable" if setting == "unusable" else "usable")
        if obtained == "verified":
            assert evidence["verification"]["matched"].startswith("1 0 1 "), evidence["verification"]
        assert len(peer.messages) == (state == "delivered")


@pytest.mark.parametrize("newest", ["1.1", "1.2"])
def test_3_35_what_check_says_of_old_profiles_is_so(make_gateway, make_peer, make_dns, newest):
    """Where a certificate is demanded a profile that ends below TLS 1.2 delivers nothing, and that is warned of."""
    peer = make_peer()
    gateway = make_gateway(dns=make_dns({"good.test": "gw A 127.0.0.1"}), routes=[{"domain": "good.test", "next_hop": f"gw.good.test:{peer.port}"}],
        tls_profiles=[{"name": "aged", "min_version": "1.0", "max_version": newest}], delivery={"retry": ["1h"]},
        destinations=[{"domain": "default", "tls": "preferred", "dane": "none", "tls_profile": "aged"}, {"domain": "good.test", "tls": "required-verify-hosted"}])
    warning = "destinations[good.test].tls: no mail for `good.test` can be delivered: a certificate is demanded"
    assert (warning in gateway.command("check").stderr) == (newest == "1.1")
    send(gateway, "good.test", "a@sender.test")
    evidence = attempts(gateway, "deferred" if newest == "1.1" else "delivered", "a@sender.test")[-1]["tls"]
    assert (evidence["connection"]["outcome"], evidence["obtained"]) == (("handshake-failed", "none") if newest == "1.1" else ("up", "verified"))
