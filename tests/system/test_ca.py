"""`postern ca`: the lists of authorities (B82 to B88), and that a gateway believes those, and only those, that are on them (F9)."""

import hashlib
import json
import os
import re
import shutil
import ssl
import subprocess
import urllib.request

import pytest

import dns
import harness
import peer as scripted
import smtp

SYSTEM = "/etc/ssl/certs/ca-certificates.crt"
BLOCK = re.compile(r"-----BEGIN CERTIFICATE-----.*?-----END CERTIFICATE-----\n", re.S)


def make_state(gateway):
    (gateway.folder / "state").mkdir()
    if os.geteuid() == 0:
        shutil.chown(gateway.folder / "state", harness.USER, harness.USER)


@pytest.fixture
def gateway(make_gateway):
    """One that does not run, whose state directory is there."""
    gateway = make_gateway(harness.settings(), start=False)
    make_state(gateway)
    return gateway


@pytest.fixture
def strange(tmp_path):
    """The certificates of another authority."""
    return harness.Pki(tmp_path / "strange")


def fingerprint(pem):
    return hashlib.sha256(ssl.PEM_cert_to_DER_cert(pem)).hexdigest()


def listed(gateway, name=None):
    return gateway.json("ca", "list", *([name] if name else []))


def test_B82_B83_B87_the_lists(gateway):
    said = listed(gateway)
    blocks = BLOCK.findall(open(SYSTEM).read())
    version = subprocess.run(["dpkg-query", "-W", "-f=${Version}", "ca-certificates"], capture_output=True, text=True).stdout
    assert said["system"]["count"] == len(blocks) > 50
    assert (said["system"]["on"], said["system"]["file"], said["system"]["version"]) == (False, SYSTEM, version), "harness: system: false"
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT[\d:.]+Z", said["system"]["date"])
    assert (said["custom"]["on"], said["custom"]["count"]) == (True, 1)
    assert {a["fingerprint_sha256"] for a in said["authorities"] if a["list"] == "system"} == {fingerprint(b) for b in blocks}
    mine, = [a for a in said["authorities"] if a["list"] == "custom"]
    assert mine["name"] == "Test CA" and mine["from"].endswith("pki/ca.pem")
    assert "authorities" in listed(gateway, "custom") and "system" not in listed(gateway, "custom")
    plain = gateway.command("ca", "list").stdout
    assert f"ca-certificates {version}" in plain and "Test CA" in plain


def test_B88_details(gateway):
    pem = (gateway.folder / "pki/ca.pem").read_text()
    for name in ("Test CA", "test ca", fingerprint(pem), fingerprint(pem)[:8].upper()):
        shown = gateway.json("ca", "show", name)
        assert (shown["fingerprint_sha256"], shown["subject"], shown["pem"], shown["key"]) == (fingerprint(pem), "CN=Test CA,O=Test", pem, "p256")
    assert "issuer: CN=Test CA,O=Test" in gateway.command("ca", "show", "Test CA").stdout
    missing = gateway.command("ca", "show", "Nobody")
    assert missing.returncode == 1 and "no list has `Nobody`" in missing.stderr


def test_B85_import_says_what_it_skips_and_why(gateway, strange):
    file = gateway.folder / "more.pem"
    file.write_text("our own\r\n" + strange.ca.read_text().replace("\n", "\r\n") + strange.server.read_text() + strange.ca.read_text()
        + "-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n")
    done = gateway.json("ca", "import", file)
    assert [a["fingerprint_sha256"] for a in done["added"]] == [fingerprint(strange.ca.read_text())]
    assert [s["why"] for s in done["skipped"]] == ["it is no authority: it may not issue certificates", "it stands twice in the file"]
    assert [s["block"] for s in done["skipped"]] == [2, 3]
    assert (done["unreadable"], done["in_force"]) == (1, False)
    assert done["unreadable_blocks"] == [{"block": 4, "why": "what it holds is no certificate, or damaged"}]
    assert listed(gateway)["custom"]["count"] == 2
    again = gateway.command("ca", "import", file)
    assert again.returncode == 0 and "it is in the list already" in again.stdout and "0 added, 3 skipped, 1 unreadable" in again.stdout
    assert "unreadable block 4 of the file: what it holds is no certificate" in again.stdout and "off" not in again.stderr
    gateway.command("ca", "disable", "custom")
    assert "the custom list is off" in gateway.command("ca", "import", file).stderr and not gateway.json("ca", "import", file)["on"]
    assert (gateway.folder / "state/pki").stat().st_mode & 0o777 == 0o700


def test_B85_fqdn_validation_is_off_unless_asked_for(gateway, strange):
    done = gateway.command("ca", "import", strange.ca, "--validate-fqdn")
    assert done.returncode == 1 and "its names are not fully qualified" in done.stdout
    assert gateway.command("ca", "import", strange.ca).returncode == 0


@pytest.mark.parametrize("content,why", [("", "no certificate in PEM form"), ("hello", "no certificate in PEM form"), (None, "cannot be read")])
def test_what_cannot_be_imported(gateway, content, why):
    file = gateway.folder / "file"
    if content is not None:
        file.write_text(content)
    done = gateway.command("ca", "import", file)
    assert done.returncode == 1 and why in done.stderr


def test_import_from_standard_input(gateway, strange):
    done = subprocess.run([harness.BINARY, "-c", gateway.file, "ca", "import", "-", "--json"], input=strange.ca.read_text(), text=True,
        capture_output=True, env=harness.environment())
    assert len(json.loads(done.stdout)["added"]) == 1


def test_B86_an_exported_list_can_be_imported(gateway):
    exported = gateway.command("ca", "export", "system")
    blocks = BLOCK.findall(exported.stdout)
    assert len(blocks) == listed(gateway)["system"]["count"]
    assert exported.stdout.count("\n# until ") == len(blocks)
    (gateway.folder / "edited.txt").write_text(exported.stdout)
    done = gateway.json("ca", "import", gateway.folder / "edited.txt")
    assert len(done["added"]) + len(done["skipped"]) == len(blocks) and len(done["added"]) > 50
    assert all(s["why"] == "it has expired" for s in done["skipped"])
    custom = gateway.command("ca", "export", "custom").stdout
    assert "# CN=Test CA,O=Test\n" in custom and len(BLOCK.findall(custom)) == len(done["added"]) + 1


def test_B84_B88_only_kept_ones_are_deleted(gateway, strange):
    system = next(a for a in listed(gateway)["authorities"] if a["list"] == "system")
    assert "system's authorities cannot be deleted" in gateway.command("ca", "delete", system["fingerprint_sha256"], "--yes").stderr
    assert "pki/ca.pem: remove it there" in gateway.command("ca", "delete", "Test CA", "--yes").stderr
    gateway.command("ca", "import", strange.ca)
    gateway.command("ca", "import", gateway.folder / "pki/ca.pem")
    assert "means several" in gateway.command("ca", "delete", "Test CA", "--yes").stderr
    assert gateway.json("ca", "delete", fingerprint(strange.ca.read_text()), "--yes")["name"] == "Test CA"
    assert listed(gateway)["custom"]["count"] == 2
    assert gateway.command("ca", "delete", "Nobody", "--yes").returncode == 1


def test_B84_both_off_warns(gateway):
    gateway.configure(harness.settings(authorities={"system": True}))
    assert gateway.json("ca", "disable", "system") == {"list": "system", "on": False, "changed": True, "in_force": False}
    assert not gateway.json("check")["warnings"]
    off = gateway.command("ca", "disable", "custom")
    assert off.returncode == 0 and "both lists are off" in off.stderr
    warning, = gateway.json("check")["warnings"]
    assert warning["key"] == "authorities" and "postern ca enable" in warning["text"]
    with gateway:
        assert gateway.status()["authorities"] == {"system": {"on": False}, "custom": {"on": False}}
        assert "no certificate of another server can be verified" in gateway.command("status").stdout
        assert re.search(r" warn master authorities_off ", gateway.stderr())
        assert gateway.json("ca", "enable", "custom")["in_force"]
        assert gateway.status()["authorities"] == {"system": {"on": False}, "custom": {"on": True}}
    assert gateway.stderr().count("authorities_off") == 1
    assert gateway.json("ca", "enable", "custom")["changed"] is False


@pytest.mark.parametrize("kept", [False, True], ids=["authorities_custom", "ca_import"])
def test_B88_the_end_of_an_authority_is_told_before_it_comes(gateway, tmp_path, kept):
    """Once for a start: not again by a reload."""
    made = harness.run("openssl", "req", "-new", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-keyout", tmp_path / "key", "-out",
        tmp_path / "csr", "-subj", "/CN=Short CA", "-addext", "basicConstraints=critical,CA:true")
    assert made.returncode == 0, made.stderr
    (gateway.folder / "short.pem").write_text(harness.sign_dated(tmp_path, "csr", "short.pem", -25, 5, "key").read_text())
    if kept:
        assert gateway.command("ca", "import", gateway.folder / "short.pem").returncode == 0
    else:
        gateway.configure(harness.settings(authorities={"system": False, "custom": "short.pem"}))
    gateway.configure(gateway.file.read_text() + 'metrics: {address: "127.0.0.1:0"}\n')
    with gateway:
        harness.wait_for("it is told", lambda: " authority_expires " in gateway.stderr())
        found, = [a for a in gateway.status()["custom_authorities"] if a["name"] == "Short CA"]
        assert found["state"] == "expires" and 4 * 86400 < found["seconds_left"] <= 5 * 86400
        done = gateway.command("status")
        assert re.search(r"^postern: warning: authority `Short CA` expires in [45] days: import its successor", done.stderr, re.M), done.stderr
        page = urllib.request.urlopen("http://" + gateway.status()["metrics"] + "/metrics").read().decode()
        left, = re.findall(r'^postern_authority_expiry_seconds{authority="Short CA",sha256="%s"} (\d+)$' % found["fingerprint_sha256"][:16], page, re.M)
        assert 0 <= found["seconds_left"] - int(left) < 60
        assert gateway.command("reload").returncode == 0
    told = re.findall(r" warn master authority_expires authority=\"Short CA\" ends=\S+ days=(\d)", gateway.stderr())
    assert told in (["4"], ["5"]), gateway.stderr()


def test_B84_what_the_file_switches_off_the_command_cannot_switch_on(gateway):
    done = gateway.command("ca", "enable", "system")
    assert done.returncode == 1 and "`authorities.system: false`" in done.stderr


@pytest.mark.parametrize("arguments,why", [
    ((), "usage"), (("frobnicate",), "unknown verb"), (("show",), "something is missing"), (("import",), "something is missing"),
    (("export",), "something is missing"), (("export", "all"), "`system` or `custom`, not all"), (("disable", "both"), "not both"),
    (("list", "x"), "not x"), (("list", "--yes"), "unknown argument"), (("show", "a", "b"), "only one can be named")])
def test_wrong_usage(gateway, arguments, why):
    done = gateway.command("ca", *arguments)
    assert done.returncode == 2 and why in done.stderr
    assert "import FILE" in gateway.command("ca", "--help").stdout


def test_C45_B88_deleted_is_said_only_where_it_is_trusted_no_more(gateway, strange):
    gateway.command("ca", "import", strange.ca)
    gateway.command("ca", "import", gateway.folder / "pki/ca.pem")
    refused = gateway.command("ca", "delete", fingerprint(strange.ca.read_text()))
    assert refused.returncode == 2 and "nothing was done; add --yes to delete the authority `Test CA`" in refused.stderr
    assert listed(gateway)["custom"]["count"] == 3
    assert gateway.json("ca", "delete", fingerprint(strange.ca.read_text()), "--yes")["still_in"] is None
    done = gateway.command("ca", "delete", fingerprint((gateway.folder / "pki/ca.pem").read_text()), "--yes")
    assert done.returncode == 1 and "deleted " in done.stdout
    assert "still trusted" in done.stderr and "pki/ca.pem holds it as well: remove it there" in done.stderr


def test_F9_check_warns_of_what_import_would_not_take(gateway, strange, tmp_path):
    """The file of `authorities.custom` is taken as it is; what is behind a damaged block counts all the same."""
    (tmp_path / "ca").write_text("basicConstraints=critical,CA:TRUE\n")
    harness.run("openssl", "req", "-new", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-keyout", tmp_path / "key", "-out",
        tmp_path / "csr", "-subj", "/CN=Old CA")
    harness.run("openssl", "x509", "-req", "-in", tmp_path / "csr", "-signkey", tmp_path / "key", "-days", "-1", "-extfile", tmp_path / "ca",
        "-out", tmp_path / "old.pem")
    file = gateway.folder / "pki/ca.pem"
    file.write_text("-----BEGIN CERTIFICATE-----\n*** no base64 ***\n-----END CERTIFICATE-----\n" + strange.server.read_text()
        + (tmp_path / "old.pem").read_text() + strange.ca.read_text())
    done = gateway.command("check")
    assert done.returncode == 0, done.stderr
    for words in ("block 1 of {}: it is damaged or cut off", "block 2 of {}, `gw.good.test`: it is no authority",
            "block 3 of {}, `Old CA`: it has expired"):
        assert words.format(file) in done.stdout + done.stderr, done.stderr
    assert "block 4" not in done.stdout + done.stderr


def test_without_a_state_directory_the_cure_is_said(make_gateway, strange):
    gateway = make_gateway(harness.settings(), start=False)
    done = gateway.command("ca", "import", strange.ca)
    assert done.returncode == 1 and "start the gateway once" in done.stderr


def calls_of(gateway, *arguments):
    """Which changes a command makes below the state directory, in their order: (call, path below it)."""
    trace = gateway.folder / "trace"
    done = subprocess.run(["strace", "-f", "-y", "-e", "trace=mkdirat,write,fsync,renameat,unlinkat", "-o", trace, harness.BINARY, "-c", gateway.file, "ca",
        *arguments], capture_output=True, text=True, env=harness.environment() | {"ASAN_OPTIONS": "detect_leaks=0"})
    assert done.returncode == 0, done.stderr
    found = re.findall(r"(\w+)\(\d+<[^>]*/state([^>]*)>", trace.read_text())
    return [(call, path.replace("/pki/authorities", "~")) for call, path in found]


def test_a_change_is_on_the_disk_before_it_is_told(gateway, strange):
    """Each step is synced: who changes what, the directory's entries, the file before its name, the name."""
    directories = [("mkdirat", ""), ("fsync", ""), ("mkdirat", "/pki"), ("fsync", "/pki"), ("mkdirat", "~"), ("fsync", "~")]
    record = [("mkdirat", ""), ("fsync", ""), ("write", "/pki/changes.log"), ("fsync", "/pki/changes.log"), ("fsync", "/pki")]
    fresh = f"~/custom/{fingerprint(strange.ca.read_text())}.pem.new"
    whole_file = [("write", fresh), ("fsync", fresh), ("renameat", "~/custom"), ("fsync", "~/custom")]
    assert calls_of(gateway, "import", strange.ca) == record + directories + whole_file
    assert calls_of(gateway, "import", strange.ca) == [*directories, ("fsync", "~/custom")], "who was here before may have died"
    assert calls_of(gateway, "disable", "custom") == [*record, *directories, ("fsync", "~/custom-off.new"), ("renameat", "~"), ("fsync", "~")]
    assert calls_of(gateway, "enable", "custom") == [*record, *directories, ("unlinkat", "~"), ("fsync", "~")]
    assert calls_of(gateway, "delete", fingerprint(strange.ca.read_text()), "--yes") == [*record, *directories, ("unlinkat", "~/custom"), ("fsync", "~/custom")]


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a directory away")
def test_F9_what_somebody_else_put_there_is_not_trusted(gateway, strange):
    """The state directory belongs to the roles, and none of them may say whom we trust."""
    gateway.command("ca", "import", strange.ca)
    shutil.chown(gateway.folder / "state/pki/authorities/custom", harness.USER)
    refused = gateway.command("check")
    assert refused.returncode == 1 and "belongs to somebody else" in refused.stderr


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a directory away")
def test_delete_says_why_it_cannot_look(gateway, strange):
    gateway.command("ca", "import", strange.ca)
    shutil.chown(gateway.folder / "state/pki/authorities/custom", harness.USER)
    done = gateway.command("ca", "delete", fingerprint(strange.ca.read_text()), "--yes")
    assert done.returncode == 1 and "belongs to somebody else" in done.stderr and "chown -R" in done.stderr
    assert "nothing was deleted" in done.stderr and "the custom list has no" not in done.stderr


@pytest.mark.parametrize("command", ["ca", "cert", "crl", "queue"])
def test_help_has_no_stray_blanks(gateway, command):
    for arguments in (["--help"], ["list", "--help"], ["list", "--nonsense"]):
        done = gateway.command(command, *arguments)
        for line in (done.stdout + done.stderr).splitlines():
            assert line == line.rstrip() and " ;" not in line, line


# What a gateway does with them


def test_F9_a_server_is_believed_while_its_authority_is_on_a_list(make_gateway, strange):
    """Imported, switched off, switched on, deleted: each counts from the next delivery on, without a restart."""
    with dns.Server({"good.test": dns.Zone("gw A 127.0.0.1")}) as server, scripted.Peer(strange, offers=("AUTH PLAIN",)) as peer:
        rule = {"domain": "default", "next_hop": f"gw.good.test:{peer.port}", "username": "u", "password_file": "secret"}
        gateway = make_gateway(harness.settings(hostname="out.good.test", dns=server.settings(), routes=[rule], authorities={"system": False},
            delivery={"retry": ["1h"]}), start=False)
        (gateway.folder / "secret").write_text("p\n")
        (gateway.folder / "secret").chmod(0o600)
        refused = gateway.command("check")
        assert refused.returncode == 1 and "postern ca import" in refused.stderr
        make_state(gateway)
        gateway.command("ca", "import", strange.ca)
        gateway.start()

        def outcome(sender, state):
            smtp.submit(gateway.address(), sender, "bob@good.test", harness.message())
            return gateway.tracked(state, sender=sender)["recipients"][0]["attempts"][-1]["tls"]["verification"]

        good = outcome("a@sender.test", "delivered")
        assert (good["result"], good["matched"], good["authority"], good["unchecked"]) == ("verified", "gw.good.test", "CN=Test CA,O=Test", [])
        assert good["checked"] == ["chain", "dates", "purpose", "strength", "names"]
        assert gateway.json("ca", "disable", "custom")["in_force"]
        bad = outcome("b@sender.test", "deferred")
        assert bad["result"] == "certificate-not-trusted" and "unable to get local issuer certificate: certificate 0" in bad["reason"]
        assert bad["unchecked"] == ["chain", "dates", "purpose", "strength", "names"]
        assert re.search(r" tls_failed .* result=certificate-not-trusted", gateway.stderr())
        assert gateway.json("ca", "enable", "custom")["in_force"]
        assert outcome("c@sender.test", "delivered")["result"] == "verified"
        # half of a renewal: it holds up the certificate, and not whom we trust
        chain = gateway.folder / "pki/server.pem"
        whole = chain.read_bytes()
        chain.write_bytes(whole[:-60])
        assert gateway.json("ca", "disable", "custom")["in_force"] and gateway.generation() == 4
        assert outcome("d@sender.test", "deferred")["result"] == "certificate-not-trusted"
        on = gateway.command("ca", "enable", "custom")
        assert on.stdout == "the custom list is on; in force\n"
        assert outcome("e@sender.test", "delivered")["result"] == "verified"
        said = gateway.command("ca", "import", gateway.folder / "pki/ca.pem").stdout
        assert "1 added, 0 skipped, 0 unreadable; in force\n" in said
        said = gateway.command("ca", "delete", fingerprint((gateway.folder / "pki/ca.pem").read_text()), "--yes").stdout
        assert said.startswith("deleted ") and said.endswith("; in force\n")
        assert "certificates[" in gateway.command("reload").stderr, "all or nothing"
        chain.write_bytes(whole)
        assert gateway.command("reload").returncode == 0
