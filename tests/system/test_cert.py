"""`postern cert`: keys and certificates from their making to their use, with openssl as the authority and as the other program."""

import contextlib
import hashlib
import json
import os
import pathlib
import pty
import re
import select
import shutil
import signal
import smtplib
import ssl
import subprocess

import pytest

import harness
import smtp

ISSUE_LINE = ("create web --common-name gw.good.test --organization Good --unit IT --city Tokyo --state Tokyo --country JP --days 365 "
    "--key rsa:2048 --alt www.good.test,*.good.test").split()


def openssl(folder, *arguments, good=True):
    done = subprocess.run(["openssl", *map(str, arguments)], cwd=folder, stdin=subprocess.DEVNULL, capture_output=True, text=True,
        env=harness.environment())
    assert (done.returncode == 0) == good, (arguments, done.stdout, done.stderr)
    return done.stdout


class Authority:
    """A root, an intermediate under it, and the files of both; openssl signs."""

    def __init__(self, folder):
        self.folder = folder
        new = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"]
        openssl(folder, "req", "-x509", *new, "-keyout", "ca.key", "-out", "ca.pem", "-days", 30, "-subj", "/CN=Root", "-addext",
            "keyUsage=critical,keyCertSign,cRLSign")
        openssl(folder, "req", *new, "-keyout", "middle.key", "-out", "middle.csr", "-subj", "/CN=Middle")
        (folder / "middle.ext").write_text("basicConstraints=critical,CA:true\nkeyUsage=critical,keyCertSign\n")
        openssl(folder, "x509", "-req", "-in", "middle.csr", "-CA", "ca.pem", "-CAkey", "ca.key", "-set_serial", 7, "-days", 30,
            "-extfile", "middle.ext", "-out", "middle.pem")

    def sign(self, csr, out, issuer="ca", *more):
        (self.folder / "request.csr").write_text(csr)
        openssl(self.folder, "x509", "-req", "-in", "request.csr", "-copy_extensions", "copyall", "-CA", f"{issuer}.pem", "-CAkey",
            f"{issuer}.key", "-set_serial", 4711, *(more or ("-days", 20)), "-out", out)
        return self.folder / out


@pytest.fixture
def place():
    """A directory with gw.yaml, which names certificate `web` of a store that is not there yet."""
    folder = harness.make_folder()
    harness.make_user()
    (folder / "gw.yaml").write_text(harness.to_yaml(harness.settings(certificates=[{"name": "web"}], authorities=None, listeners=[{
        "name": "inbound", "type": "public", "address": "127.0.0.1:0", "certificate": "web", "policy": "accepted"}])) + "\n")
    (folder / "F").write_text("correct horse\n")
    yield folder
    shutil.rmtree(folder)


@pytest.fixture
def authority(place):
    return Authority(place)


def cert(folder, *arguments, good=True, text="", status=None):
    """One command, typed in the folder as an operator would; what it printed (on stderr, when it was to fail)."""
    done = subprocess.run([str(harness.BINARY), "-c", "gw.yaml", "cert", *map(str, arguments)], cwd=folder, input=text,
        capture_output=True, text=True, env=harness.environment(), start_new_session=True, timeout=harness.PATIENCE)
    assert not harness.SANITIZER_REPORT.search(done.stderr), done.stderr
    assert (done.returncode == 0) == good, (done.stdout, done.stderr)
    assert status is None or done.returncode == status, done
    assert good or done.stderr.startswith("postern"), done.stderr
    return done.stdout if good else done.stderr


def show(folder, name="web"):
    return json.loads(cert(folder, "show", name, "--json"))


def checked(folder):
    """The warnings of `check`."""
    done = harness.postern("-c", folder / "gw.yaml", "check")
    assert done.returncode == 0, done.stderr
    return done.stdout + done.stderr


def pem_of(folder, name, file="chain.pem"):
    return (folder / "state/pki/certificates" / name / file).read_text()


def digest_of(pem):
    return hashlib.sha256(ssl.PEM_cert_to_DER_cert(pem[pem.index("-----BEGIN"):])).hexdigest()


def presented(gateway):
    """SHA-256 of the certificate that a new client is shown."""
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    with smtplib.SMTP(*gateway.address(), timeout=harness.PATIENCE) as client:
        client.starttls(context=context)
        return hashlib.sha256(client.sock.getpeercert(binary_form=True)).hexdigest()


@contextlib.contextmanager
def running(folder, pki):
    gateway = harness.Gateway(pki, folder=folder)
    gateway.file = folder / "gw.yaml"
    with gateway:
        yield gateway


def test_B7_B13_B15_B17_the_way_from_a_key_to_a_signed_certificate_and_a_copy(place, authority):
    """The lines of the issue, as they stand there."""
    cert(place, *ISSUE_LINE)
    csr = cert(place, "csr", "web")
    assert csr.startswith("-----BEGIN CERTIFICATE REQUEST-----") and "PRIVATE" not in csr
    authority.sign(csr, "signed.pem")
    cert(place, "upload", "web", "--in", "signed.pem", "--chain", "ca.pem")
    cert(place, "export", "web", "--out", "web.p12", "--passphrase-file", "F")
    cert(place, "import", "copy", "--in", "web.p12", "--passphrase-file", "F")
    shown = show(place)
    assert shown["subject"] == "CN=gw.good.test,OU=IT,O=Good,L=Tokyo,ST=Tokyo,C=JP" and shown["issuer"] == "CN=Root"
    assert shown["alt_names"] == ["gw.good.test", "www.good.test", "*.good.test"]
    assert shown["key"] == "rsa:2048" and shown["chain"] == [] and shown["uses"] == ["inbound"]
    assert re.fullmatch(r"2\d{3}-\d\d-\d\dT[\d:.]+Z", shown["not_before"]) and shown["not_before"] < shown["not_after"]
    assert shown["fingerprint_sha256"] == digest_of((place / "signed.pem").read_text())
    spki = subprocess.run("openssl x509 -in signed.pem -noout -pubkey | openssl pkey -pubin -outform der | sha256sum", shell=True, cwd=place,
        capture_output=True, text=True, check=True).stdout.split()[0]
    assert shown["spki_sha256"] == spki
    assert cert(place, "tlsa", "web", "--host", "gw.good.test", "--port", "25") == f"_25._tcp.gw.good.test. IN TLSA 3 1 1 {spki}\n"
    assert show(place, "copy")["fingerprint_sha256"] == shown["fingerprint_sha256"] and pem_of(place, "copy", "key.pem") == pem_of(place,
        "web", "key.pem")
    (place / "web.pem").write_text(pem_of(place, "web"))
    openssl(place, "verify", "-CAfile", "ca.pem", "-purpose", "sslserver", "-verify_hostname", "mail.good.test", "web.pem")
    names = [json.loads(line)["name"] for line in cert(place, "list", "--json").splitlines()]
    assert names == ["copy", "web"]
    assert "copy" in cert(place, "list") and "SHA-256" in cert(place, "show", "web")


@pytest.mark.parametrize("kind", ["rsa:2048", "rsa:3072", "rsa:4096", "p256", "p384"])
def test_B10_self_signed_certificates_stand_before_openssl(place, kind):
    cert(place, "create", "own", "--common-name", "gw.good.test", "--key", kind, "--days", 3)
    (place / "own.pem").write_text(pem_of(place, "own"))
    openssl(place, "verify", "-CAfile", "own.pem", "-purpose", "sslserver", "-verify_hostname", "gw.good.test", "own.pem")
    openssl(place, "x509", "-in", "own.pem", "-noout", "-checkend", 3 * 86400 - 600)
    openssl(place, "x509", "-in", "own.pem", "-noout", "-checkend", 3 * 86400 + 600, good=False)
    (place / "own.csr").write_text(cert(place, "csr", "own"))
    openssl(place, "req", "-in", "own.csr", "-verify", "-noout")


def test_B10_B12_B16_what_cannot_be_made_is_refused_with_its_cure(place):
    own = ("create", "own", "--common-name")
    for arguments, word in (
        (("gw.good.test", "--country", "JPN"), "two letters"),
        (("gw.good.test", "--country", "1P"), "two letters"),
        (("gw.good.test", "--days", "0"), "from 1 to"),
        (("gw.good.test", "--days", "x"), "from 1 to"),
        (("gw.good.test", "--key", "rsa:1024"), "--legacy"),
        (("gw.good.test", "--key", "rsa:512", "--legacy"), "rsa:2048"),
        (("a b",), "letters, digits"),
        (("x" * 65,), "--alt"),
        (("gw.good.test", "--alt", ",".join(f"{i}.good.test" for i in range(101))), "at most 100 names"),
    ):
        said = cert(place, *own, *arguments, good=False, status=2)
        assert word in said and "usage: postern [-c FILE] cert create NAME" in said, arguments
    for arguments, word in (
        (("gateway", "--validate-fqdn"), "one label"),
        (("gw.good.test", "--alt", "gateway", "--validate-fqdn"), "alternative name `gateway`"),
        (("127.0.0.1", "--validate-fqdn"), "address"),
    ):
        assert word in cert(place, *own, *arguments, good=False, status=1), arguments
    assert cert(place, "list") == ""
    assert "--common-name is missing" in cert(place, "create", "own", good=False, status=2)
    assert "letters, digits" in cert(place, "create", "../own", "--common-name", "gw.good.test", good=False, status=2)
    assert "unknown argument" in cert(place, *own, "gw.good.test", "--in", "x", good=False, status=2)
    assert "unknown verb" in cert(place, "make", good=False, status=2)
    assert "1024" in json.loads(cert(place, *own, "gateway", "--key", "rsa:1024", "--legacy", "--json"))["notes"][0]
    assert "--replace" in cert(place, *own, "gw.good.test", good=False)
    cert(place, *own, "gw.good.test", "--replace", "--country", "jp")
    assert show(place, "own")["key"] == "rsa:2048" and show(place, "own")["subject"] == "CN=gw.good.test,C=JP"
    help_text = cert(place, "--help")
    assert re.findall(r"^  (\w+)", help_text, re.M) == "list show create csr upload import export activate delete tlsa".split()
    for arguments, word in ((("--host", "gateway"), "one label"), (("--host", "*.good.test"), "wildcard"), (("--host", "a.b", "--port", "0"), "65535")):
        assert word in cert(place, "tlsa", "own", *arguments, good=False, status=2)


def test_the_help_of_a_verb_is_its_own(place):
    page = cert(place, "upload", "--help")
    assert page.startswith("usage: postern [-c FILE] cert upload NAME --in PEM") and "--chain PEM " in page and "--json" in page
    assert "tlsa" not in page and "--days" not in page
    for command, verb, word in (("queue", "delete", "--older AGE"), ("ca", "import", "--validate-fqdn"), ("queue", "suspend", "A DESTINATION")):
        done = harness.postern(command, verb, "--help")
        assert done.returncode == 0 and word in done.stdout and done.stdout.startswith(f"usage: postern [-c FILE] {command} {verb} "), done
        assert "  list " not in done.stdout


def test_8_09_names_beyond_ascii_are_a_labels_in_certificates_and_records(place):
    cert(place, "create", "own", "--common-name", "gw.bücher.test", "--alt", "*.Straße.test,例え.テスト", "--validate-fqdn")
    shown = show(place, "own")
    assert shown["alt_names"] == ["gw.xn--bcher-kva.test", "*.xn--strae-oqa.test", "xn--r8jz45g.xn--zckzah"]
    assert shown["subject"] == "CN=gw.xn--bcher-kva.test"
    record = cert(place, "tlsa", "own", "--host", "gw.bücher.test")
    assert record == f"_25._tcp.gw.xn--bcher-kva.test. IN TLSA 3 1 1 {shown['spki_sha256']}\n"
    (place / "own.pem").write_text(pem_of(place, "own"))
    openssl(place, "verify", "-CAfile", "own.pem", "-verify_hostname", "mx.xn--strae-oqa.test", "own.pem")
    for name, why in (("♥.test", "`♥.test` cannot be a host name: string contains a disallowed character"),
            ("bü_cher.test", "host names have no `_`")):
        assert why in cert(place, "create", "no", "--common-name", name, good=False)
        assert why in cert(place, "create", "no", "--common-name", "a.test", "--alt", name, good=False)
    assert "cannot be a host name: " in cert(place, "tlsa", "own", "--host", "♥.test", good=False)


def test_8_09_a_gateway_with_names_beyond_ascii(place, pki):
    """It greets with the A-label, and hears of the certificate for it."""
    (place / "gw.yaml").write_text((place / "gw.yaml").read_text().replace("hostname: gw.good.test", "hostname: gw.bücher.test"))
    cert(place, "create", "web", "--common-name", "gw.bücher.test", "--days", "365")
    with running(place, pki) as gateway:
        with smtp.Client(gateway.address()) as c:
            assert c.greeting.text.startswith("220 gw.xn--bcher-kva.test "), c.greeting
            assert c.ehlo().text.startswith("250-gw.xn--bcher-kva.test")
            c.quit()
        assert gateway.json("config", "show")["hostname"] == "gw.xn--bcher-kva.test"
        assert gateway.command("reload").returncode == 0


def test_B3_B15_upload_takes_only_what_was_signed_for_this_key(place, authority):
    cert(place, *ISSUE_LINE)
    cert(place, "create", "other", "--common-name", "other.good.test")
    before = pem_of(place, "web")
    authority.sign(cert(place, "csr", "other"), "other.pem")
    assert "belongs to the key" in cert(place, "upload", "web", "--in", "other.pem", "--chain", "ca.pem", good=False)
    assert "no certificate" in cert(place, "upload", "web", "--in", "F", good=False)
    assert "private key" in cert(place, "upload", "web", "--in", "ca.key", good=False)
    assert "cannot be read" in cert(place, "upload", "web", "--in", "nowhere.pem", good=False)
    assert "there is no certificate `nobody`" in cert(place, "upload", "nobody", "--in", "ca.pem", good=False)
    signed = authority.sign(cert(place, "csr", "web"), "signed.pem")
    (place / "cut.pem").write_text(signed.read_text()[:400])
    assert "damaged" in cert(place, "upload", "web", "--in", "cut.pem", good=False)
    (place / "mixed.pem").write_text(signed.read_text() + (place / "middle.pem").read_text()[:300])
    assert "damaged" in cert(place, "upload", "web", "--in", "mixed.pem", good=False)
    (place / "big.pem").write_text(signed.read_text() + "x" * (1 << 20))
    assert "1 MiB" in cert(place, "upload", "web", "--in", "big.pem", good=False)
    assert pem_of(place, "web") == before


def test_8_13_chains_are_mended_or_what_is_wrong_is_said(place, authority):
    cert(place, *ISSUE_LINE)
    csr = cert(place, "csr", "web")
    signed = authority.sign(csr, "signed.pem", "middle")
    leaf, middle, root = (p.read_text()[p.read_text().index("-----BEGIN"):] for p in (signed, place / "middle.pem", place / "ca.pem"))

    def notes(*arguments):
        return " ".join(json.loads(cert(place, "upload", "web", *arguments, "--json"))["notes"])

    assert "peers cannot verify this chain" in notes("--in", "signed.pem") and pem_of(place, "web") == leaf
    (place / "all.pem").write_text((root + middle + leaf).replace("\n", "\r\n"))
    said = notes("--in", "all.pem")
    assert "order was mended" in said and "root `CN=Root` was left out" in said and "the issuer of `" not in said
    assert pem_of(place, "web") == leaf + middle
    assert [c["subject"] for c in show(place)["chain"]] == ["CN=Middle"]
    said = notes("--in", "signed.pem", "--chain", "middle.pem")
    assert said.startswith("the issuer of `CN=Middle`, `CN=Root`") and said.endswith("that is right when it is a root that peers have")
    cert(place, "create", "stranger", "--common-name", "x.test")
    (place / "stranger.pem").write_text(root + middle + pem_of(place, "stranger"))
    assert "`CN=x.test` does not belong" in notes("--in", "signed.pem", "--chain", "stranger.pem")

    (place / "request.pem").write_text(csr)
    (place / "damaged.pem").write_text(middle[:200] + "!" + middle[201:])
    (place / "signed.der").write_bytes(ssl.PEM_cert_to_DER_cert(leaf))
    for file, word in (("request.pem", "holds no certificate in PEM form"), ("damaged.pem", "is damaged or cut off")):
        assert f"{file}: holds" in (said := cert(place, "upload", "web", "--in", "signed.pem", "--chain", file, good=False)) and word in said
    said = cert(place, "upload", "web", "--in", "signed.der", "--chain", "middle.pem", good=False)
    assert "signed.der: holds no certificate in PEM form" in said and "openssl x509 -inform der" in said
    assert pem_of(place, "web") == leaf + middle

    authority.sign(csr, "old.pem", "middle", "-days", "-1")
    assert "has expired" in cert(place, "upload", "web", "--in", "old.pem", good=False)
    assert pem_of(place, "web") == leaf + middle


def test_8_23_keys_are_for_their_owner_only(place):
    cert(place, *ISSUE_LINE)
    top = place / "state/pki"
    for path in (top, top / "certificates", top / "certificates/web"):
        assert path.stat().st_mode & 0o777 == 0o700, path
    assert (top / "certificates/web/key.pem").stat().st_mode & 0o777 == 0o600
    assert "PRIVATE" not in cert(place, "show", "web", "--json") + cert(place, "list", "--json")
    cert(place, "export", "web", "--out", "web.p12", "--passphrase-file", "F")
    assert (place / "web.p12").stat().st_mode & 0o777 == 0o600
    assert "exists already" in cert(place, "export", "web", "--out", "web.p12", "--passphrase-file", "F", good=False)
    if os.geteuid() == 0:
        os.chown(top, 1, 1)
        assert "another user" in cert(place, "create", "own", "--common-name", "gw.good.test", good=False)
        done = harness.postern("-c", place / "gw.yaml", "check")
        assert done.returncode == 1 and "who could put any key into it" in done.stderr, done.stderr
        os.chown(top, 0, 0)
        assert harness.postern("-c", place / "gw.yaml", "check").returncode == 0
        top.rename(top.with_name("elsewhere"))
        top.symlink_to("elsewhere")
        assert harness.postern("-c", place / "gw.yaml", "check").returncode == 1


@pytest.mark.parametrize("encoding", [[], ["-legacy"], ["-legacy", "-descert"]])
def test_B16_pkcs12_of_openssl_is_imported(place, authority, encoding):
    cert(place, *ISSUE_LINE)
    authority.sign(cert(place, "csr", "web"), "signed.pem", "middle")
    (place / "key.pem").write_text(pem_of(place, "web", "key.pem"))
    (place / "others.pem").write_text((place / "ca.pem").read_text() + (place / "middle.pem").read_text())
    openssl(place, "pkcs12", "-export", *encoding, "-in", "signed.pem", "-inkey", "key.pem", "-certfile", "others.pem", "-passout", "file:F",
        "-out", "in.p12")
    answer = json.loads(cert(place, "import", "copy", "--in", "in.p12", "--passphrase-file", "F", "--json"))
    assert answer["fingerprint_sha256"] == digest_of((place / "signed.pem").read_text())
    assert [c["subject"] for c in show(place, "copy")["chain"]] == ["CN=Middle"]
    assert pem_of(place, "copy", "key.pem") == pem_of(place, "web", "key.pem")

    assert "does not open with this passphrase" in cert(place, "import", "no", "--in", "in.p12", "--passphrase-file", "gw.yaml", good=False)
    whole = (place / "in.p12").read_bytes()
    (place / "cut.p12").write_bytes(whole[:-20])
    assert "damaged" in cert(place, "import", "no", "--in", "cut.p12", "--passphrase-file", "F", good=False)
    openssl(place, "pkcs12", "-export", *encoding, "-nokeys", "-in", "signed.pem", "-passout", "file:F", "-out", "nokey.p12")
    assert "holds no private key" in cert(place, "import", "no", "--in", "nokey.p12", "--passphrase-file", "F", good=False)
    openssl(place, "pkcs12", "-export", *encoding, "-nocerts", "-inkey", "key.pem", "-in", "key.pem", "-passout", "file:F", "-out",
        "nocert.p12")
    assert "holds no certificate" in cert(place, "import", "no", "--in", "nocert.p12", "--passphrase-file", "F", good=False)
    assert json.loads(cert(place, "list", "--json").splitlines()[-1])["name"] == "web"


def test_B17_openssl_reads_what_was_exported(place, authority):
    cert(place, *ISSUE_LINE)
    authority.sign(cert(place, "csr", "web"), "signed.pem", "middle")
    cert(place, "upload", "web", "--in", "signed.pem", "--chain", "middle.pem")
    cert(place, "export", "web", "--out", "web.p12", "--passphrase-file", "F")
    out = openssl(place, "pkcs12", "-in", "web.p12", "-passin", "file:F", "-nodes")
    assert out.count("BEGIN CERTIFICATE") == 2 and "BEGIN PRIVATE KEY" in out and "friendlyName: web" in out
    told = subprocess.run(["openssl", "pkcs12", "-in", "web.p12", "-passin", "file:F", "-info", "-noout"], cwd=place, capture_output=True,
        text=True).stderr
    assert "AES-256-CBC" in told and "sha256" in told.lower() and "Iteration 100000" in told, told
    openssl(place, "pkcs12", "-in", "web.p12", "-passin", "pass:wrong", "-nodes", good=False)


def test_C50_pem_is_imported_too(place, authority):
    cert(place, *ISSUE_LINE)
    (place / "key.pem").write_text(pem_of(place, "web", "key.pem"))
    authority.sign(cert(place, "csr", "web"), "signed.pem")
    cert(place, "import", "two", "--in", "signed.pem", "--key", "key.pem", "--chain", "ca.pem")
    (place / "both.pem").write_text((place / "key.pem").read_text() + (place / "signed.pem").read_text())
    cert(place, "import", "one", "--in", "both.pem")
    assert show(place, "one")["fingerprint_sha256"] == show(place, "two")["fingerprint_sha256"]
    assert pem_of(place, "one", "key.pem") == pem_of(place, "two", "key.pem") == pem_of(place, "web", "key.pem")
    assert "PRIVATE" not in pem_of(place, "one")
    assert "no private key" in cert(place, "import", "no", "--in", "signed.pem", good=False)
    assert "belongs to the private key" in cert(place, "import", "no", "--in", "signed.pem", "--key", "ca.key", good=False)
    openssl(place, "pkey", "-in", "key.pem", "-aes256", "-passout", "file:F", "-out", "locked.pem")
    assert "encrypted private key" in cert(place, "import", "no", "--in", "signed.pem", "--key", "locked.pem", good=False)


def type_at_terminal(folder, arguments, lines):
    """Run a command at a terminal of its own and answer its prompts; its exit code and what the terminal showed."""
    pid, fd = pty.fork()
    if pid == 0:
        os.chdir(folder)
        os.execve(harness.BINARY, ["postern", "-c", "gw.yaml", "cert", *arguments], harness.environment())
    shown, status = b"", None

    def read():
        nonlocal shown
        if not select.select([fd], [], [], harness.PATIENCE)[0]:
            os.kill(pid, signal.SIGKILL)
            raise harness.Late(f"it says nothing more: {shown}")
        shown += os.read(fd, 4096)

    try:
        for prompt, line in lines:
            while prompt not in shown:
                read()
            os.write(fd, line)
        while True:
            read()
    except OSError:
        pass  # the other end was closed
    finally:
        _, status = os.waitpid(pid, 0)
        os.close(fd)
    return os.waitstatus_to_exitcode(status), shown.decode()


def test_B17_passphrases_come_from_the_terminal_a_file_or_standard_input(place):
    cert(place, *ISSUE_LINE)
    twice = [(b"Passphrase: ", b"typed secret\n"), (b"again: ", b"typed secret\n")]
    status, shown = type_at_terminal(place, ["export", "web", "--out", "typed.p12"], twice)
    assert status == 0 and "typed secret" not in shown, shown
    openssl(place, "pkcs12", "-in", "typed.p12", "-passin", "pass:typed secret", "-nodes")
    status, shown = type_at_terminal(place, ["import", "typed", "--in", "typed.p12"], twice[:1])
    assert status == 0 and "typed secret" not in shown, shown
    status, shown = type_at_terminal(place, ["export", "web", "--out", "no.p12"], [twice[0], (b"again: ", b"another\n")])
    assert status == 1 and "differ" in shown and not (place / "no.p12").exists()
    status, shown = type_at_terminal(place, ["export", "web", "--out", "no.p12"], [(b"Passphrase: ", b"abc\x03")])
    assert status == 1 and "nothing was done" in shown and not (place / "no.p12").exists()

    cert(place, "export", "web", "--out", "piped.p12", "--passphrase-file", "-", text="from a pipe\n")
    openssl(place, "pkcs12", "-in", "piped.p12", "-passin", "pass:from a pipe", "-nodes")
    assert "empty" in cert(place, "export", "web", "--out", "no.p12", "--passphrase-file", "-", text="\n", good=False)
    assert "no terminal" in cert(place, "export", "web", "--out", "no.p12", good=False, status=2)
    assert "unknown argument" in cert(place, "export", "web", "--out", "no.p12", "--passphrase", "secret", good=False, status=2)
    assert "cannot be read" in cert(place, "export", "web", "--out", "no.p12", "--passphrase-file", "nowhere", good=False)
    assert not (place / "no.p12").exists()


def test_8_21_B7_upload_changes_what_new_clients_see_and_drops_nobody(place, authority, pki):
    cert(place, *ISSUE_LINE)
    before = show(place)["fingerprint_sha256"]
    with running(place, pki) as gateway:
        assert presented(gateway) == before
        with smtp.Client(gateway.address()) as c:
            c.ehlo()
            c.starttls()
            c.ehlo()
            c.expect("MAIL FROM:<a@sender.test>", 250)
            authority.sign(cert(place, "csr", "web"), "signed.pem")
            answer = json.loads(cert(place, "upload", "web", "--in", "signed.pem", "--chain", "ca.pem", "--json"))
            assert answer["reloaded"] and answer["uses"] == ["inbound"]
            assert presented(gateway) == answer["fingerprint_sha256"] != before
            c.expect("RCPT TO:<bob@good.test>", 250)
            c.quit()
        assert gateway.generation() == 2
        cert(place, "create", "unused", "--common-name", "x.good.test")
        assert gateway.generation() == 2, "nobody uses it"

        # what was made by somebody else's hand and is broken leaves the old pair in use
        chain = place / "state/pki/certificates/web/chain.pem"
        good = chain.read_text()
        chain.write_text("broken")
        assert gateway.command("reload").returncode == 1
        assert presented(gateway) == answer["fingerprint_sha256"]
        chain.write_text(good)
        cert(place, "create", "web", "--common-name", "gw.good.test", "--replace", "--key", "p384")
        assert presented(gateway) == show(place)["fingerprint_sha256"]
        assert gateway.generation() == 3


def test_C45_delete_refuses_what_is_needed(place, pki):
    cert(place, *ISSUE_LINE)
    cert(place, "create", "spare", "--common-name", "gw.good.test")
    cert(place, "create", "third", "--common-name", "gw.good.test")
    assert "the configuration names `web`" in cert(place, "delete", "web", "--yes", good=False)
    cert(place, "activate", "spare")
    assert "active certificate" in cert(place, "delete", "spare", "--yes", good=False)
    cert(place, "activate", "web")
    assert "`web` is the active certificate; activate another one first" in cert(place, "delete", "web", "--yes", good=False)
    cert(place, "activate", "spare")
    (place / "state/pki/certificates/stray").write_text("")
    (place / "state/pki/certificates/link").symlink_to("web")
    assert [line["name"] for line in map(json.loads, cert(place, "list", "--json").splitlines())] == ["spare", "third", "web"]
    assert show(place, "spare")["active"] and not show(place)["active"]
    cert(place, "delete", "third", "--yes")
    assert "there is no certificate `third`" in cert(place, "delete", "third", "--yes", good=False)
    (place / "gw.yaml").write_text((place / "gw.yaml").read_text() + "nonsense: 1\n")
    cert(place, "create", "fourth", "--common-name", "gw.good.test")
    assert "postern check" in cert(place, "delete", "fourth", "--yes", good=False)
    (place / "gw.yaml").write_text((place / "gw.yaml").read_text() + "unclosed: [\n")
    cert(place, "create", "fifth", "--common-name", "gw.good.test")
    assert show(place)["uses"] is None
    assert not (place / "state/pki/certificates/third").exists()


def test_C49_the_active_certificate_serves_listeners_that_name_none(place, pki):
    configuration = harness.settings(certificates=None, authorities=None, listeners=[{"name": "inbound", "type": "public",
        "address": "127.0.0.1:0", "policy": "accepted"}], listener_tls="none")
    (place / "gw.yaml").write_text(harness.to_yaml(configuration) + "\n")
    with running(place, pki) as gateway:
        with smtp.Client(gateway.address()) as c:
            assert "STARTTLS" not in c.ehlo().offers
        cert(place, "create", "own", "--common-name", "gw.good.test")
        cert(place, "activate", "own")
        (place / "gw.yaml").write_text((place / "gw.yaml").read_text().replace("tls: none", "tls: preferred"))
        gateway.command("reload")
        assert presented(gateway) == show(place, "own")["fingerprint_sha256"]
        cert(place, "create", "next", "--common-name", "gw.good.test")
        assert json.loads(cert(place, "activate", "next", "--json"))["reloaded"]
        assert presented(gateway) == show(place, "next")["fingerprint_sha256"]
        assert show(place, "next")["uses"] == ["inbound"] and show(place, "own")["uses"] == []
        assert gateway.status()["certificates"][0]["name"] == "next"
        # what is shown says the same when it is read
        shown = gateway.command("config", "show").stdout
        (place / "again.yaml").write_text(shown)
        assert harness.postern("-c", place / "again.yaml", "config", "show").stdout == shown
    assert "cert list" in cert(place, "activate", "nobody", good=False)


def test_B14_the_demo_certificate_is_made_at_the_first_start_with_warnings(place, pki):
    configuration = harness.settings(certificates=None, authorities=None, listeners=[{"name": "inbound", "type": "public",
        "address": "127.0.0.1:0", "certificate": "demo", "policy": "accepted"}])
    (place / "gw.yaml").write_text(harness.to_yaml(configuration) + "\n")

    def warning():
        done = harness.postern("-c", place / "gw.yaml", "check")
        assert done.returncode == 0 and "no peer can know this gateway" in done.stderr, done.stderr
        return done.stderr

    assert "the next start makes" in warning()
    assert not (place / "state").exists()
    with running(place, pki) as gateway:
        made = show(place, "demo")
        assert made["alt_names"] == ["gw.good.test"] and made["self_signed"] and made["uses"] == ["inbound"]
        assert presented(gateway) == made["fingerprint_sha256"]
        assert "certificate_demo listener=inbound" in gateway.stderr()
        (told,) = gateway.status()["certificates"]
        assert told["name"] == "demo" and told["demo"] and told["stored"] and told["state"] == "fine"
        assert "demo certificate" in gateway.command("status").stdout
    assert "the next start makes" not in warning()
    with running(place, pki) as gateway:
        assert presented(gateway) == made["fingerprint_sha256"], "it stays"


@pytest.mark.parametrize("delivery", [False, True])
def test_B14_the_demo_certificate_is_made_for_who_is_no_listener(place, pki, delivery):
    """An entry that nobody presents, or servers see only: the start needs its key."""
    configuration = harness.settings(destination_settings={"certificate": "demo"} if delivery else None)
    configuration["certificates"].append({"name": "demo"})
    (place / "gw.yaml").write_text(harness.to_yaml(configuration) + "\n")
    with running(place, pki) as gateway:
        (told,) = [c for c in gateway.status()["certificates"] if c["name"] == "demo"]
        assert told["delivery"] == delivery and gateway.roles()["deliver"]["up"]


@pytest.mark.parametrize("arguments", [("create", "demo", "--common-name", "x.good.test"), ("import", "demo", "--in", "x.p12"), ("upload", "demo", "--in", "x.pem")],
    ids=["create", "import", "upload"])
def test_B14_the_name_of_the_demo_certificate_is_reserved(place, arguments):
    said = cert(place, *arguments, good=False, status=2)
    assert "the name is reserved" in said and "another one than demo" in said
    assert not (place / "state/pki/certificates/demo").exists()


def test_B14_a_reload_makes_the_demo_certificate_too(place, pki):
    cert(place, *ISSUE_LINE)
    with running(place, pki) as gateway:
        (place / "gw.yaml").write_text((place / "gw.yaml").read_text().replace("certificate: web", "certificate: demo"))
        done = gateway.command("reload")
        assert done.returncode == 0, done.stderr
        assert presented(gateway) == show(place, "demo")["fingerprint_sha256"]


def test_a_name_points_to_files_or_to_the_store(place, pki):
    def problems():
        answer = harness.postern("-c", place / "gw.yaml", "check", "--json")
        return [(p["key"], p["text"]) for p in json.loads(answer.stdout)["problems"]]

    ((key, text),) = problems()
    assert key == "certificates[web].name" and "postern cert create web" in text
    cert(place, *ISSUE_LINE)
    assert problems() == []
    text = (place / "gw.yaml").read_text()
    for half, other in (("chain", "key"), ("key", "chain")):
        (place / "gw.yaml").write_text(text.replace("- name: web\n", f"- name: web\n    {half}: x.pem\n", 1))
        assert any(key == f"certificates[web].{other}" and "is missing" in said for key, said in problems()), problems()
    pki.copy_to(place / "pki")
    (place / "gw.yaml").write_text(text.replace("- name: web\n", "- name: web\n    chain: pki/server.pem\n    key: pki/server.key\n", 1))
    with running(place, pki) as gateway:
        assert presented(gateway) == pki.fingerprint()
        assert show(place)["uses"] == [], "the store's certificate of the same name is another one"


def test_B20_8_24_the_end_of_a_certificate_is_told_before_and_after(place, authority, pki):
    cert(place, *ISSUE_LINE)
    (place / "web.csr").write_text(cert(place, "csr", "web"))

    def upload(life, left):
        harness.sign_dated(place, "web.csr", "dated.pem", left - life, left, "ca.key", "ca.pem")
        cert(place, "upload", "web", "--in", "dated.pem")

    for life, left, told_now in ((90, 39.5, False), (90, 19.5, True), (300, 100.5, False), (300, 99.5, True), (6, 5.5, True)):
        upload(life, left)
        assert ("chain.pem expires on 20" in checked(place)) == told_now
        with running(place, pki) as gateway:
            (found,) = gateway.status()["certificates"]
            assert found["state"] == ("expires" if told_now else "fine") and (left - 1) * 86400 < found["seconds_left"] <= left * 86400
            told = [line for line in gateway.stderr().splitlines() if " certificate_expire" in line]
            assert len(told) == told_now, told
            if told_now:
                assert re.search(r" warn master certificate_expires certificate=web ends=\S+ days=%d$" % left, told[0]), told
            gateway.command("reload")
            assert gateway.stderr().count(" certificate_expire") == len(told), "each step is told once"
            upload(30, 4.5)
            harness.wait_for("the new one is told of", lambda: re.search("days=4$", gateway.stderr(), re.M))
        (place / "stderr").unlink()
    authority.sign(cert(place, "csr", "web"), "late.pem", "ca", "-days", "-1")
    (place / "state/pki/certificates/web/chain.pem").write_text((place / "late.pem").read_text())
    assert "chain.pem expired on 20" in checked(place)
    with running(place, pki) as gateway:
        assert gateway.status()["certificates"][0]["state"] == "expired"
        assert re.search(r" error master certificate_expired certificate=web ends=\S+ days=1\b", gateway.stderr()), gateway.stderr()
        assert "  web          expired 2" in gateway.command("status").stdout


def test_a_restore_leaves_the_store_as_it_is(place, pki):
    cert(place, *ISSUE_LINE)
    with running(place, pki):
        pass
    done = harness.postern("-c", place / "gw.yaml", "backup", place / "copy")
    assert done.returncode == 0 and not (place / "copy/pki").exists(), done.stderr
    (place / "state").rename(place / "before")
    (place / "state").mkdir()
    shutil.copytree(place / "before/pki", place / "state/pki")
    done = harness.postern("-c", place / "gw.yaml", "restore", place / "copy")
    assert done.returncode == 0, done.stderr
    cert(place, "create", "other", "--common-name", "gw.good.test")
    with running(place, pki) as gateway:
        assert presented(gateway) == show(place)["fingerprint_sha256"]


def test_two_commands_at_once_leave_one_whole_certificate(place):
    commands = [subprocess.Popen([str(harness.BINARY), "-c", "gw.yaml", "cert", "create", "web", "--common-name", f"gw{i}.good.test",
        "--replace", "--key", "p256"], cwd=place, env=harness.environment(), stdout=subprocess.DEVNULL) for i in range(4)]
    assert [c.wait(timeout=harness.PATIENCE) for c in commands] == [0] * 4
    (place / "web.pem").write_text(pem_of(place, "web"))
    (place / "key.pem").write_text(pem_of(place, "web", "key.pem"))
    assert openssl(place, "x509", "-in", "web.pem", "-noout", "-pubkey") == openssl(place, "pkey", "-in", "key.pem", "-pubout")
    assert [path.name for path in pathlib.Path(place / "state/pki/certificates").iterdir()] == ["web"]
