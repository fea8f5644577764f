"""What an operator is told about certificates: by status, by `cert tlsa`, before something is removed, and afterwards who did it."""

import json
import re

import pytest

import harness
from test_cert import authority, cert, place, presented, running, show  # noqa: F401: fixtures
from test_keys import certificates, make_certificate, settings


@pytest.fixture
def several(make_gateway, sink):
    """A gateway whose listener `first` presents `web` of the store and `file` from files."""
    gateway = make_gateway(start=False)
    gateway.shown = make_certificate(gateway.folder / "pki", "file", "P-256", ["gw.good.test"])
    configuration = settings(sink, "first")
    configuration["certificates"] = [{"name": "web"}, *certificates("file")]
    configuration["listeners"][0]["certificate"] = ["web", "file"]
    gateway.configure(configuration)
    made = gateway.command("cert", "create", "web", "--common-name", "gw.good.test", "--organization", "Good", "--days", "60")
    assert made.returncode == 0, made.stderr
    return gateway


def test_B2_B20_status_says_what_each_listener_presents_and_what_ends_soon(several):
    several.start()
    web = several.json("cert", "show", "web")
    listener, = several.status()["listeners"]
    first, second = listener["certificates"]
    assert (first["name"], first["subject"], first["fingerprint_sha256"]) == ("web", "CN=gw.good.test,O=Good", web["fingerprint_sha256"])
    assert first["expires"] == web["not_after"] and first["state"] == "fine" and first["stored"]
    assert (second["name"], second["fingerprint_sha256"], second["state"], second["stored"]) == ("file", several.shown, "expires", False)
    done = several.command("status")
    assert f"    presents web: CN=gw.good.test,O=Good, SHA-256 {web['fingerprint_sha256']}, until {web['not_after'][:10]}\n" in done.stdout
    assert re.search(r"^postern: warning: certificate `file` expires in (29|30) days: renew it$", done.stderr, re.M), done.stderr
    assert "`web`" not in done.stderr and done.returncode == 0


def test_tlsa_names_the_records_of_the_other_certificates_of_a_listener(several):
    done = several.command("cert", "tlsa", "web", "--host", "gw.good.test")
    said = several.json("cert", "tlsa", "web", "--host", "gw.good.test")
    other, = said["others"]
    assert done.stdout == said["record"] + "\n" and (other["listener"], other["certificate"]) == ("first", "file")
    assert "listener `first` presents certificate `file` as well" in done.stderr and done.stderr.endswith(other["record"] + "\n")
    spki = harness.run("sh", "-c", f"openssl x509 -in {several.folder}/pki/file.pem -noout -pubkey | openssl pkey -pubin -outform der | sha256sum")
    assert other["record"] == "_25._tcp.gw.good.test. IN TLSA 3 1 1 " + spki.stdout.split()[0]
    several.configure((several.folder / several.file.name).read_text().replace("- file\n", ""))
    assert several.json("cert", "tlsa", "web", "--host", "gw.good.test")["others"] == []
