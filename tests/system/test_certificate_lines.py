"""The command lines of certificates and trust, typed as they stand in the documentation, one after the other."""

import json
import re
import shlex
import subprocess

import harness
from test_cert import authority, place  # noqa: F401

CREATE = ("postern -c gw.yaml cert create web --common-name gw.good.test --organization Good --unit IT --city Tokyo --state Tokyo --country JP "
    "--days 365 --key rsa:2048 --alt www.good.test,*.good.test")


def typed(folder, line, status=0):
    """What a line prints that an operator types in `folder`."""
    done = subprocess.run([str(harness.BINARY), *shlex.split(line)[1:]], cwd=folder, capture_output=True, text=True, stdin=subprocess.DEVNULL,
        env=harness.environment(), timeout=harness.PATIENCE)
    assert done.returncode == status, (line, done)
    assert not harness.SANITIZER_REPORT.search(done.stderr), done.stderr
    return done.stdout


def test_B7_B10_B13_B15_B17_C48_certificates(place, authority):
    typed(place, CREATE)
    authority.sign(typed(place, "postern -c gw.yaml cert csr web"), "signed.pem")
    typed(place, "postern -c gw.yaml cert upload web --in signed.pem --chain ca.pem")
    typed(place, "postern -c gw.yaml cert export web --out web.p12 --passphrase-file F")
    typed(place, "postern -c gw.yaml cert import copy --in web.p12 --passphrase-file F")
    shown = json.loads(typed(place, "postern -c gw.yaml cert show web --json"))
    assert {"subject", "alt_names", "not_before", "not_after", "key", "fingerprint_sha256", "spki_sha256", "chain"} <= shown.keys()
    assert shown["alt_names"] == ["gw.good.test", "www.good.test", "*.good.test"] and shown["key"] == "rsa:2048" and shown["chain"] == []
    assert shown["subject"] == "CN=gw.good.test,OU=IT,O=Good,L=Tokyo,ST=Tokyo,C=JP"
    assert all(re.fullmatch("[0-9a-f]{64}", shown[name]) for name in ("fingerprint_sha256", "spki_sha256"))
    record = typed(place, "postern -c gw.yaml cert tlsa web --host gw.good.test --port 25")
    assert record == f"_25._tcp.gw.good.test. IN TLSA 3 1 1 {shown['spki_sha256']}\n"
    typed(place, "postern -c gw.yaml cert activate copy")
    assert [json.loads(line)["active"] for line in typed(place, "postern -c gw.yaml cert list --json").splitlines()] == [True, False]
    typed(place, "postern -c gw.yaml cert activate web")
    typed(place, "postern -c gw.yaml cert delete copy --yes")
    assert "copy" not in typed(place, "postern -c gw.yaml cert list")


def test_B82_B84_B85_B86_B88_authorities(place, authority):
    typed(place, CREATE)
    typed(place, "postern -c gw.yaml ca import ca.pem")
    assert "Root" in typed(place, "postern -c gw.yaml ca list custom") and "Root" in typed(place, "postern -c gw.yaml ca list")
    shown = json.loads(typed(place, "postern -c gw.yaml ca show Root --json"))
    assert shown["subject"] == "CN=Root"
    assert "-----BEGIN CERTIFICATE-----" in typed(place, "postern -c gw.yaml ca export custom")
    typed(place, "postern -c gw.yaml ca disable system")
    assert not json.loads(typed(place, "postern -c gw.yaml ca list --json"))["system"]["on"]
    typed(place, "postern -c gw.yaml ca enable system")
    assert json.loads(typed(place, "postern -c gw.yaml ca list --json"))["system"]["on"]
    typed(place, "postern -c gw.yaml ca delete Root --yes")
    assert "Root" not in typed(place, "postern -c gw.yaml ca list custom")


def test_A61_lists_of_revoked_certificates(place):
    """What they say of lists that are there is in test_crl*.py."""
    typed(place, CREATE)
    typed(place, "postern -c gw.yaml crl list")
    (place / "gw.yaml").write_text((place / "gw.yaml").read_text() + "crl_sources:\n  sources:\n"
        "    - {name: our-ca, type: asn1, primary: 'http://crl.example.test/ca.crl', schedule: every 1h, enabled: false}\n")
    assert "our-ca" in typed(place, "postern -c gw.yaml crl list --json")
    assert json.loads(typed(place, "postern -c gw.yaml crl show our-ca --json"))["state"] == "disabled"
    assert typed(place, "postern -c gw.yaml crl update our-ca", 75) == ""


def test_the_list_of_what_to_type_names_commands_that_are_there():
    text = (harness.ROOT / "docs/certificates.md").read_text()
    lines = re.findall(r"`(?:postern )?((?:cert|ca|crl|check|status|reload|track|config)(?: [a-z]+)?)((?: [^`|>]*)?)", text)
    assert len(lines) > 20, lines
    for words, rest in lines:
        done = harness.postern(*words.split(), "--help")
        assert done.returncode == 0, (words, done.stderr)
        for option in re.findall(r"--[a-z-]+", rest):
            assert option in done.stdout, (words, option, done.stdout)
