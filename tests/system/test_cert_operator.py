"""What an operator is told about certificates: by status, by `cert tlsa`, before something is removed, and afterwards who did it."""

import json
import os
import pwd
import re
import shutil
import types

import pytest

import dns
import harness
import peer as scripted
import smtp
from test_cert import authority, cert, openssl, place, running, show, type_at_terminal  # noqa: F401: fixtures
from test_keys import certificates, fingerprint, make_certificate, settings


@pytest.fixture
def several(make_gateway, sink):
    """A gateway whose listener `first` presents `web` of the store and `file` from files."""
    gateway = make_gateway(start=False)
    files = gateway.folder / "pki"
    make_certificate(files, "file", "P-256", ["gw.good.test"])
    harness.run("openssl", "req", "-new", "-key", files / "file.key", "-out", files / "file.csr", "-subj", "/CN=gw.good.test")
    (files / "file.pem").rename(files / "self.pem")
    harness.sign_dated(files, "file.csr", "file.pem", -70, 20.5, "file.key", "self.pem")
    gateway.shown = fingerprint(files / "file.pem")
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
    assert re.search(r"^postern: warning: certificate `file` expires in 20 days: renew it$", done.stderr, re.M), done.stderr
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


def test_B80_tlsa_of_a_certificate_in_files_needs_no_key(several):
    """The gateway's own certificate, whoever makes it; a wrong name is said."""
    (several.folder / "pki/file.key").unlink()
    said = several.json("cert", "tlsa", "file", "--host", "gw.good.test", "--port", "2525")
    spki = harness.run("sh", "-c", f"openssl x509 -in {several.folder}/pki/file.pem -noout -pubkey | openssl pkey -pubin -outform der | sha256sum")
    assert said["record"] == "_2525._tcp.gw.good.test. IN TLSA 3 1 1 " + spki.stdout.split()[0]
    assert [(other["listener"], other["certificate"]) for other in said["others"]] == [("first", "web")]
    done = several.command("cert", "tlsa", "none", "--host", "gw.good.test")
    assert done.returncode == 1 and "`none`, neither in `certificates` nor in the store" in done.stderr
    (several.folder / "pki/file.pem").unlink()
    done = several.command("cert", "tlsa", "file", "--host", "gw.good.test")
    assert done.returncode == 1 and "see `postern check`" in done.stderr
    assert several.command("cert", "tlsa", "web", "--host", "gw.good.test").returncode == 0, "the store does not depend on it"


def changes(folder):
    return [json.loads(line) for line in (folder / "state/pki/changes.log").read_text().splitlines()]


def test_C45_delete_asks(place):
    cert(place, "create", "web", "--common-name", "gw.good.test", "--key", "p256")
    cert(place, "create", "old", "--common-name", "gw.good.test", "--key", "p256")
    assert "nothing was done; add --yes to delete certificate `old` and its private key" in cert(place, "delete", "old", good=False, status=2)
    assert type_at_terminal(place, ["delete", "old"], [(b"? [y/N]", b"n\n")])[0] == 1 and show(place, "old")
    status, shown = type_at_terminal(place, ["delete", "old"], [(b"? [y/N]", b"y\n")])
    assert status == 0 and "old: deleted" in shown
    assert "there is no certificate `old`" in cert(place, "show", "old", good=False)


def test_11_54_11_55_who_changed_the_store_is_recorded_and_logged(place, pki, authority):  # noqa: F811
    """With and without a gateway; what cannot be recorded is not done."""
    cert(place, "create", "web", "--common-name", "gw.good.test", "--key", "p256")
    first = show(place)["fingerprint_sha256"]
    with running(place, pki) as gateway:
        cert(place, "create", "web", "--common-name", "gw.good.test", "--key", "p256", "--replace")
        second = show(place)["fingerprint_sha256"]
        log = gateway.stderr()
        line, = re.findall(r"info master pki_changed (.*)", log)
        user = pwd.getpwuid(os.getuid()).pw_name
        assert line == f'what="cert create" name=web before={first} after={second} uid={os.getuid()} user={user}'
        cert(place, "activate", "web")
        cert(place, "export", "web", "--out", "web.p12", "--passphrase-file", "F")
        gateway.command("ca", "import", pki.ca)
        gateway.command("ca", "disable", "system")
        gateway.command("ca", "disable", "system")
        assert len(re.findall(r"pki_changed", gateway.stderr())) == 5
    found = changes(place)
    assert [c["what"] for c in found] == ["cert create", "cert create", "cert activate", "cert export", "ca import", "ca disable"]
    assert [(c["name"], c["before"], c["after"]) for c in found[:3]] == [("web", None, first), ("web", first, second), ("web", None, second)]
    assert found[4]["after"] == fingerprint(pki.ca) and found[4]["name"] == "Test CA" and found[5]["name"] == "system"
    assert all(c["uid"] == os.getuid() and c["user"] == user and c["failed"] is None and c["time"].endswith("Z") for c in found)
    record = place / "state/pki/changes.log"
    assert record.stat().st_mode & 0o777 == 0o600
    record.unlink()
    record.symlink_to("/dev/null")
    assert "nothing was changed, because it cannot be recorded" in cert(place, "create", "other", "--common-name", "gw.good.test", good=False, status=1)
    assert "there is no certificate `other`" in cert(place, "show", "other", good=False)


def check(folder):
    done = harness.postern("-c", folder / "gw.yaml", "check", "--json")
    return [(p["key"], p["text"]) for p in json.loads(done.stdout)["problems"]]


@pytest.fixture
def stored(place):
    """A store with several certificates that the configuration names."""
    for name in ("web", "one", "two"):
        cert(place, "create", name, "--common-name", "gw.good.test", "--key", "p256")
    text = (place / "gw.yaml").read_text()
    (place / "gw.yaml").write_text(text.replace("  - name: web\n", "  - name: web\n  - name: one\n  - name: two\n", 1))
    assert check(place) == []
    return place


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give something away")
@pytest.mark.parametrize("what", ["", "certificates", "certificates/one", "certificates/two/key.pem", "certificates/web/chain.pem", "active",
    "authorities", "authorities/custom", "authorities/custom/" + "0" * 64 + ".pem"])
def test_8_23_whose_the_store_is_and_who_may_change_it(stored, what):
    """One message, whatever of it is somebody else's."""
    cert(stored, "activate", "web")
    kept = stored / "state/pki/authorities/custom"
    kept.mkdir(mode=0o700, parents=True)
    (kept / ("0" * 64 + ".pem")).write_text("")
    assert check(stored) == []
    path = stored / "state/pki" / what
    mode = path.stat().st_mode
    for spoil, words in ((lambda: shutil.chown(path, harness.USER), "belongs to somebody else than root"),
            (lambda: path.chmod(mode | 0o020), "may be changed by others than its owner"),
            (lambda: path.chmod(mode | 0o002), "may be changed by others than its owner")):
        spoil()
        (key, text), = check(stored)
        assert key == "state_dir" and words in text and f"`{str(path).rstrip('/')}`" in text and "who could put any key into it" in text
        shutil.chown(path, 0)
        path.chmod(mode)
    assert check(stored) == []


def test_what_is_damaged_in_the_store_is_named(stored):
    files = stored / "state/pki/certificates/one"
    for name in ("key.pem", "chain.pem"):
        (files / name).rename(files / "away")
        (key, text), = check(stored)
        assert key == "certificates[one].name" and f"lacks its file {name}" in text and "cert import one --replace" in text
        assert "lacks one of its files" in cert(stored, "show", "one", good=False)
        (files / "away").rename(files / name)
    text = (stored / "gw.yaml").read_text()
    (stored / "gw.yaml").write_text(text.replace("    certificate: web\n", ""))
    cert(stored, "activate", "two")
    assert check(stored) == []
    active = stored / "state/pki/active"
    active.write_bytes(b"\0\0")
    found = check(stored)
    assert found[0][0] == "state_dir" and "pki/active` is damaged" in found[0][1] and "postern cert activate NAME" in found[0][1], found
    active.write_text("gone\n")
    found = check(stored)
    assert found[0][0] == "state_dir" and "names `gone` as the active certificate, and it is not in the store" in found[0][1], found


@pytest.mark.parametrize("common,alternative,bad", [("gateway", "gw.good.test", "cn"), ("gw.good.test", "gateway", "san")])
def test_B16_B18_fqdn_validation_of_the_names_that_are_asked_for(place, common, alternative, bad):
    openssl(place, "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-keyout", "x.key", "-out", "x.pem", "-days", 9,
        "-subj", f"/CN={common}", "-addext", f"subjectAltName=DNS:{alternative}")
    openssl(place, "pkcs12", "-export", "-inkey", "x.key", "-in", "x.pem", "-passout", "file:F", "-out", "x.p12")
    good = {"cn": "san", "san": "cn"}[bad]
    for file in (("--in", "x.p12", "--passphrase-file", "F"), ("--in", "x.pem", "--key", "x.key")):
        for option in ("--validate-fqdn", f"--validate-fqdn={bad}"):
            assert "`gateway` has one label" in cert(place, "import", "x", *file, "--replace", option, good=False, status=1)
        cert(place, "import", "x", *file, f"--validate-fqdn={good}", "--replace")
    assert "not =both" in cert(place, "import", "x", *file, "--validate-fqdn=both", good=False, status=2)
    assert "unknown argument --validate-fqdnx" in cert(place, "import", "x", *file, "--validate-fqdnx", good=False, status=2)
    assert "unknown argument --replace=1" in cert(place, "import", "x", *file, "--replace=1", good=False, status=2)


def test_B8_two_gateways_that_know_each_other_by_self_signed_certificates(make_gateway, sink, tmp_path):
    """Generated on the one, exported, imported on its peer, whose certificate the first one then takes as one to trust: it logs in there only then."""
    first = make_gateway(start=False)
    made = first.command("cert", "create", "main", "--common-name", "gw.good.test", "--key", "p256")
    assert made.returncode == 0, made.stderr
    (tmp_path / "F").write_text("correct horse\n")
    assert first.command("cert", "export", "main", "--out", tmp_path / "main.p12", "--passphrase-file", tmp_path / "F").returncode == 0
    second = make_gateway(start=False)
    assert second.command("cert", "import", "copy", "--in", tmp_path / "main.p12", "--passphrase-file", tmp_path / "F").returncode == 0
    theirs = second.folder / "state/pki/certificates/copy"
    assert second.json("cert", "show", "copy")["fingerprint_sha256"] == fingerprint(theirs / "chain.pem")
    pair = types.SimpleNamespace(server=theirs / "chain.pem", key=theirs / "key.pem")
    with dns.Server({"good.test": dns.Zone("gw A 127.0.0.1")}) as server, scripted.Peer(pair, offers=("AUTH PLAIN",)) as peer:
        rule = {"domain": "default", "next_hop": f"gw.good.test:{peer.port}", "username": "u", "password_file": "secret"}
        first.configure(harness.settings(hostname="out.good.test", dns=server.settings(), routes=[rule], delivery={"retry": ["1h"]}))
        (first.folder / "secret").write_text("p\n")
        (first.folder / "secret").chmod(0o600)
        first.start()

        def verified(sender, state):
            smtp.submit(first.address(), sender, "bob@good.test", harness.message())
            return first.tracked(state, sender=sender)["recipients"][0]["attempts"][-1]["tls"]["verification"]

        assert verified("a@sender.test", "deferred")["result"] != "verified"
        taken = first.command("ca", "import", theirs / "chain.pem")
        assert taken.returncode == 0 and "of a server, self-signed: it vouches for itself only" in taken.stdout, taken
        assert verified("b@sender.test", "delivered")["result"] == "verified"


@pytest.fixture
def signed(place, authority):  # noqa: F811
    cert(place, "create", "web", "--common-name", "gw.good.test", "--key", "p256")
    authority.sign(cert(place, "csr", "web"), "signed.pem")
    (place / "key.pem").write_text((place / "state/pki/certificates/web/key.pem").read_text())
    return place


@pytest.mark.parametrize("how", [("pkcs8", "-topk8", "-v2", "aes-256-cbc"), ("pkcs8", "-topk8", "-v1", "PBE-SHA1-3DES"), ("ec", "-aes256")])
def test_8_13_an_encrypted_key_is_opened_with_its_passphrase(signed, how):
    openssl(signed, *how, "-in", "key.pem", "-out", "locked.pem", "-passout", "file:F")
    (signed / "both.pem").write_text((signed / "signed.pem").read_text() + (signed / "locked.pem").read_text())
    (signed / "wrong").write_text("no\n")
    assert "ENCRYPTED" in (signed / "locked.pem").read_text()
    cert(signed, "import", "copy", "--in", "signed.pem", "--key", "locked.pem", "--passphrase-file", "F")
    cert(signed, "import", "both", "--in", "both.pem", "--passphrase-file", "F")
    for name in ("copy", "both"):
        assert (signed / "state/pki/certificates" / name / "key.pem").read_text() == (signed / "key.pem").read_text()
    refused = cert(signed, "import", "no", "--in", "both.pem", "--passphrase-file", "wrong", good=False, status=1)
    assert "both.pem: its private key does not open with this passphrase" in refused
    assert "--passphrase-file" in cert(signed, "import", "no", "--in", "both.pem", good=False, status=1)
    status, shown = type_at_terminal(signed, ["import", "typed", "--in", "both.pem"], [(b"Passphrase: ", b"correct horse\n")])
    assert status == 0 and show(signed, "typed"), shown
    text = (signed / "locked.pem").read_text()
    lines = text.splitlines()
    (signed / "cut.pem").write_text("\n".join(lines[:len(lines) // 2] + lines[-1:]) + "\n")
    assert "private key" in cert(signed, "import", "no", "--in", "signed.pem", "--key", "cut.pem", "--passphrase-file", "F", good=False, status=1)


def test_8_13_a_key_that_would_take_for_ever_to_open(signed):
    openssl(signed, "pkcs8", "-topk8", "-v2", "aes-256-cbc", "-iter", "20000000", "-in", "key.pem", "-out", "locked.pem", "-passout", "file:F")
    said = cert(signed, "import", "no", "--in", "signed.pem", "--key", "locked.pem", "--passphrase-file", "F", good=False, status=1)
    assert "its private key asks for more than 10,000,000 iterations" in said


@pytest.mark.parametrize("form", ["pem", "der"])
def test_8_13_of_pkcs7_the_cure_is_said(signed, form):
    openssl(signed, "crl2pkcs7", "-nocrl", "-certfile", "signed.pem", "-certfile", "ca.pem", "-outform", form, "-out", "chain.p7b")
    inform = "-inform der " if form == "der" else ""
    for verb in (("upload", "web"), ("import", "no", "--key", "key.pem"), ("import", "no", "--passphrase-file", "F")):
        said = cert(signed, *verb, "--in", "chain.p7b", good=False, status=1)
        assert f"is a PKCS#7 file; take the certificates out of it with: openssl pkcs7 {inform}-print_certs -in FILE" in said, said
    done = harness.postern("-c", signed / "gw.yaml", "ca", "import", signed / "chain.p7b")
    assert done.returncode == 1 and "is a PKCS#7 file" in done.stderr
    openssl(signed, "pkcs7", *inform.split(), "-print_certs", "-in", "chain.p7b", "-out", "out.pem")
    cert(signed, "upload", "web", "--in", "out.pem")
