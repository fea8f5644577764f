"""What TLS scanners find on a STARTTLS listener: nothing above INFO, but about the certificate of the test."""

import csv
import re

import pytest

import harness
from test_tls_profiles import make_rsa

# What a certificate of a test cannot help: its issuer, name, lifetime, where its revocation is told, and CAA.
OF_THE_CERTIFICATE = ("cert_chain_of_trust", "cert_trust", "cert_caIssuers", "cert_expirationStatus", "cert_notAfter", "cert_notBefore",
    "cert_validityPeriod", "cert_extlifeSpan", "cert_revocation", "cert_crlDistributionPoints", "cert_ocspURL", "cert_crlRevoked", "OCSP_stapling",
    "cert_mustStapleExtension", "cert_commonName", "cert_subjectAltName", "DNS_CAArecord", "certificate_transparency", "cert_eTLS",
    "cert_ExtendedKeyUsage")
# What the scanner says of itself; it tests resumption with a client that may hang up before the ticket of TLS 1.3 came.
OF_THE_SCANNER = ("engine_problem", "sessionresumption_ticket")
ABOVE_INFO = ("LOW", "MEDIUM", "HIGH", "CRITICAL", "WARN", "FATAL")


def listener(kind, **more):
    return dict({"name": kind, "type": kind, "address": "127.0.0.1:0", "certificate": "main", "policy": "accepted"}, **more)


# A profile of the operator's, and what a scanner finds of it above INFO: docs/certificates.md says so, too.
PROFILES = {
    "own": ({}, {"cipherlist_AVERAGE"}),  # the library's list has CBC
    "listed": ({"ciphers": "ECDHE+AESGCM:ECDHE+CHACHA20:DHE+AESGCM", "groups": "X25519:P-256:P-384"}, set()),
    "old": ({"min_version": "1.0"}, {"TLS1", "TLS1_1", "cipherlist_AVERAGE"}),
}


@pytest.fixture
def gateway(make_gateway, sink):
    """Listeners of each kind with the default TLS profile, and one for each of PROFILES; a scanner opens many connections."""
    configuration = harness.settings(next_hop=sink.address, limits={"connections_per_network": 1000, "rate": 100000, "errors": 1000},
        tls_profiles=[dict(name=name, **values) for name, (values, _) in PROFILES.items()],
        listeners=[listener("public"), listener("private"), *(dict(listener("public"), name=name, tls_profile=name, certificate="rsa") for name in PROFILES)])
    configuration["certificates"].append({"name": "rsa", "chain": "pki/rsa.pem", "key": "pki/rsa.key"})
    gateway = make_gateway(configuration, start=False)
    make_rsa(gateway.folder / "pki")
    return gateway.start()


def scan(gateway, name, tmp_path, *what):
    """What testssl.sh finds above INFO: a list of `SEVERITY id: words`; and the ids of all that it looked at."""
    host, port = gateway.address(name)
    result = tmp_path / "result.csv"
    done = harness.run("testssl", "--quiet", "--color", "0", "--ip", "127.0.0.1", "--warnings", "off", *what, "-t", "smtp", "--csvfile", result,
        f"{host}:{port}", timeout=240)
    rows = list(csv.DictReader(result.open()))
    found = [f"{row['severity']} {row['id']}: {row['finding']}" for row in rows
        if row["severity"] in ABOVE_INFO and not row["id"].split(" ")[0].startswith(OF_THE_CERTIFICATE + OF_THE_SCANNER)]
    assert rows, done.stdout + done.stderr
    return found, {row["id"] for row in rows}


def test_8_14_testssl_finds_nothing(gateway, tmp_path):
    found, ids = scan(gateway, "public", tmp_path, "-p", "-s", "-f", "-S", "-U")
    assert ids >= {"TLS1_2", "TLS1_3", "cipherlist_STRONG", "PFS", "heartbleed", "LUCKY13", "cert_signatureAlgorithm"}, ids
    assert not found, "\n".join(found)


@pytest.mark.parametrize("name", PROFILES)
def test_8_14_testssl_finds_what_a_profile_allows_and_no_more(gateway, tmp_path, name):
    found, _ = scan(gateway, name, tmp_path, "-p", "-s", "-f", "-S")
    assert {line.split()[1].rstrip(":") for line in found} == PROFILES[name][1], "\n".join(found)


@pytest.mark.parametrize("kind", ["public", "private"])
def test_8_14_sslscan_finds_nothing(gateway, kind):
    host, port = gateway.address(kind)
    done = harness.run("sslscan", "--starttls-smtp", "--no-colour", "--show-certificate", f"{host}:{port}", timeout=120)
    text = done.stdout
    assert done.returncode == 0, text + done.stderr
    for line in ("SSLv2     disabled", "SSLv3     disabled", "TLSv1.0   disabled", "TLSv1.1   disabled", "TLSv1.2   enabled", "TLSv1.3   enabled",
            "Server supports TLS Fallback SCSV", "Session renegotiation not supported", "TLSv1.3 not vulnerable to heartbleed",
            "TLSv1.2 not vulnerable to heartbleed"):
        assert line in text, f"{line!r} is missing:\n{text}"
    ciphers = text.split("Supported Server Cipher(s):")[1].split("Server Key Exchange")[0]
    assert "TLSv1.3" in ciphers and not re.search(r"NULL|anon|EXP|RC4|DES|MD5|CBC|SHA\s|\b(40|56|112) bits", ciphers), text
