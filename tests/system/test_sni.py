"""Several certificates on one listener: real clients, the name they ask for, and what they can verify."""

import hashlib
import json
import re
import shutil
import ssl
import subprocess

import pytest

import harness
import smtp
from test_keys import certificates, make_certificate, settings

NAMES = {"first": ("rsa", ["gw.good.test", "mail.good.test"]), "second": ("P-256", ["gw.good.test"]),
    "wild": ("P-384", ["*.hosted.test"]), "other": ("rsa", ["other.test"])}


@pytest.fixture
def hosts(make_gateway, sink):
    """A gateway whose only listener has them all; .shown: name -> fingerprint."""
    gateway = make_gateway(start=False)
    gateway.shown = {name: make_certificate(gateway.folder / "pki", name, kind, names) for name, (kind, names) in NAMES.items()}
    configuration = settings(sink, "first")
    configuration["certificates"] = certificates(*NAMES)
    configuration["listeners"][0]["certificate"] = list(NAMES)
    gateway.configure(configuration)
    return gateway.start()


def s_client(gateway, *arguments):
    host, port = gateway.address("first")
    return harness.run("openssl", "s_client", "-starttls", "smtp", "-connect", f"{host}:{port}", *arguments)


def shown_to(done):
    found = re.search(r"-----BEGIN CERTIFICATE-----.*?-----END CERTIFICATE-----\n", done.stdout, re.S)
    assert found, done.stdout + done.stderr
    return hashlib.sha256(ssl.PEM_cert_to_DER_cert(found.group(0))).hexdigest()


@pytest.mark.parametrize("version", ["-tls1_2", "-tls1_3"])
@pytest.mark.parametrize("asked,all_of_them,rsa_only", [
    (None, "second", "first"),
    ("gw.good.test", "second", "first"),
    ("GW.good.test", "second", "first"),
    ("mail.good.test", "first", "first"),
    ("a.hosted.test", "wild", "first"),
    ("a.b.hosted.test", "second", "first"),
    ("other.test", "other", "other"),
    ("unknown.test", "second", "first"),
    ("gw.good.test\\", "second", "first"),
])
def test_8_19_8_20_openssl_is_shown_the_right_one(hosts, asked, all_of_them, rsa_only, version):
    name = ["-servername", asked] if asked else ["-noservername"]
    done = s_client(hosts, version, *name)
    assert shown_to(done) == hosts.shown[all_of_them]
    done = s_client(hosts, version, *name, "-sigalgs", "rsa_pss_rsae_sha256:RSA+SHA256")
    assert shown_to(done) == hosts.shown[rsa_only]


@pytest.mark.skipif(not shutil.which("swaks"), reason="swaks is not installed")
def test_8_19_swaks_with_a_name(hosts, tmp_path):
    host, port = hosts.address("first")
    for asked, name in (("a.hosted.test", "wild"), ("other.test", "other"), ("unknown.test", None)):
        done = harness.run("swaks", "--server", host, "--port", port, "--tls", "--tls-sni", asked, "--quit-after", "TLS",
            "--tls-get-peer-cert", tmp_path / "shown.pem")
        assert done.returncode == 0, done.stdout + done.stderr
        text = (tmp_path / "shown.pem").read_text()
        shown = hashlib.sha256(ssl.PEM_cert_to_DER_cert(text)).hexdigest()
        assert shown in ([hosts.shown[name]] if name else [hosts.shown["first"], hosts.shown["second"]])


ASKED = [("gw.good.test", "first", "second"), ("mail.good.test", "first", "first"), ("a.hosted.test", None, "wild"), ("other.test", "other", "other")]


@pytest.mark.skipif(not shutil.which("gnutls-cli"), reason="gnutls-cli is not installed")
@pytest.mark.parametrize("version", ["-VERS-ALL:+VERS-TLS1.2", "-VERS-ALL:+VERS-TLS1.3"])
@pytest.mark.parametrize("asked,rsa,ecdsa", ASKED)
def test_8_19_8_20_gnutls_believes_the_one_it_asks_for(hosts, asked, rsa, ecdsa, version):
    """It verifies by the name; another library with its own ideas of names, signatures and groups."""
    host, port = hosts.address("first")
    elliptic = "-SIGN-ECDSA-SHA256:-SIGN-ECDSA-SECP256R1-SHA256:-SIGN-ECDSA-SHA384:-SIGN-ECDSA-SECP384R1-SHA384:-SIGN-ECDSA-SHA512:-SIGN-ECDSA-SECP521R1-SHA512"
    for name, signatures in ((ecdsa, ""), (rsa, f":{elliptic}")):
        if name is None:
            continue
        done = subprocess.run(["gnutls-cli", "--starttls-proto=smtp", "--port", str(port), "--sni-hostname", asked, "--verify-hostname", asked,
            "--x509cafile", str(hosts.folder / f"pki/{name}.pem"), "--priority", f"NORMAL:{version}{signatures}", "--crlf", "--print-cert", host], input="quit\n",
            capture_output=True, text=True, timeout=harness.PATIENCE, env=harness.environment())
        assert "The certificate is trusted" in done.stdout and done.returncode == 0, done.stdout + done.stderr
        assert shown_to(done) == hosts.shown[name], done.stdout


@pytest.mark.skipif(not shutil.which("posttls-finger", path="/usr/sbin"), reason="posttls-finger is not installed")
@pytest.mark.parametrize("asked,rsa,ecdsa", ASKED)
def test_8_19_8_20_postfix_believes_the_one_it_asks_for(hosts, tmp_path, asked, rsa, ecdsa):
    """By what it is named (-s), at its level `secure`; Postfix takes either kind of key unless its ciphers say otherwise."""
    host, port = hosts.address("first")
    for name, options in ((ecdsa, []), (rsa, ["-o", "tls_medium_cipherlist=aRSA", "-p", "!TLSv1.3", "-g", "medium"])):
        if name is None:
            continue
        (tmp_path / "main.cf").write_text("compatibility_level = 3.6\ninet_protocols = ipv4\n")
        done = harness.run("env", f"MAIL_CONFIG={tmp_path}", "/usr/sbin/posttls-finger", "-c", "-l", "secure", "-s", asked, "-F",
            hosts.folder / f"pki/{name}.pem", "-d", "sha256", "-L", "summary,certmatch", *options, f"[{host}]:{port}", asked)
        said = done.stdout + done.stderr
        assert "Verified TLS connection established" in said, said
        assert hosts.shown[name] in said.replace(":", "").lower(), said


def test_8_17_a_ticket_is_for_its_listener_until_a_reload(make_gateway, sink):
    """Resumed at the same listener, by whatever name; not at another one, and not after a reload."""
    gateway = make_gateway(start=False)
    make_certificate(gateway.folder / "pki", "here", "P-256")
    make_certificate(gateway.folder / "pki", "there", "rsa")
    gateway.configure(settings(sink, "here", "there"))
    gateway.start()

    def session(listener, known=None):
        with smtp.Client(gateway.address(listener)) as c:
            c.ehlo()
            c.expect("STARTTLS", 220)
            c.socket = context.wrap_socket(c.socket, server_hostname="gw.good.test", session=known)
            c.ehlo()  # tickets of TLS 1.3 have come with the reply
            made, reused = c.socket.session, c.socket.session_reused
            c.quit()
            return made, reused

    for version in (ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3):
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
        context.minimum_version = context.maximum_version = version
        first, reused = session("here")
        assert not reused
        assert session("here", first)[1], version
        first, _ = session("here")
        assert not session("there", first)[1], version
        first, _ = session("here")
        assert gateway.command("reload").returncode == 0
        assert not session("here", first)[1], version


def test_8_21_certificates_come_and_go_by_reload(hosts, sink):
    address = hosts.address("first")
    configuration = settings(sink, "first")
    configuration["certificates"] = certificates(*NAMES)
    configuration["listeners"][0]["certificate"] = ["other", "wild"]
    hosts.configure(configuration)
    assert hosts.command("reload").returncode == 0
    assert hosts.address("first") == address
    assert shown_to(s_client(hosts, "-servername", "a.hosted.test")) == hosts.shown["wild"]
    assert shown_to(s_client(hosts, "-servername", "gw.good.test")) == hosts.shown["other"]
    assert hosts.json("config", "show")["listeners"][0]["certificate"] == ["other", "wild"]


def test_8_19_the_store_and_the_demo_certificate_in_a_list(make_gateway, sink):
    gateway = make_gateway(start=False)
    shown = make_certificate(gateway.folder / "pki", "other", "rsa", ["other.test"])
    configuration = settings(sink, "other")
    configuration["certificates"] = [{"name": "web"}, *certificates("other")]
    configuration["listeners"][0]["certificate"] = ["demo", "web", "other"]
    gateway.configure(configuration)
    made = gateway.command("cert", "create", "web", "--common-name", "web.good.test", "--days", "30", "--key", "rsa:2048")
    assert made.returncode == 0, made.stderr
    gateway.start()
    web = gateway.json("cert", "show", "web")
    assert web["uses"] == ["other"], web

    def presented(name):
        host, port = gateway.address("other")
        return shown_to(harness.run("openssl", "s_client", "-starttls", "smtp", "-connect", f"{host}:{port}", "-servername", name))

    assert presented("other.test") == shown
    assert presented("web.good.test") == web["fingerprint_sha256"].replace(":", "").lower()
    assert presented("gw.good.test") == gateway.json("cert", "show", "demo")["fingerprint_sha256"].replace(":", "").lower()
    assert "certificate_demo listener=other" in gateway.stderr()


@pytest.mark.parametrize("value,words", [
    ([], ["certificate", "at least one"]),
    (["first", "frist"], ["frist", "did you mean `first`"]),
    (["first", "first"], ["stands twice"]),
    ([["first"]], ["certificate", "a list"]),
    ({"name": "first"}, ["certificate", "expected a name"]),
])
def test_check_of_lists_of_certificates(hosts, sink, value, words):
    configuration = settings(sink, "first")
    configuration["certificates"] = certificates(*NAMES)
    configuration["listeners"][0]["certificate"] = "VALUE"
    hosts.configure(harness.to_yaml(configuration).replace("certificate: VALUE", "certificate: " + json.dumps(value)) + "\n")
    done = hosts.command("check")
    assert done.returncode == 1
    for word in words:
        assert word in done.stderr, done.stderr


@pytest.mark.skipif(not shutil.which("strace"), reason="strace is not installed")
def test_front_needs_no_file_for_its_sessions(hosts, sink):
    """Handshakes of every kind with several certificates, mail and a reload: no call of `front` names a file, so that it can live in an empty root."""
    trace = hosts.folder / "trace"
    strace = subprocess.Popen(["strace", "-f", "-e", "trace=%file,open_by_handle_at", "-o", trace, "-p", str(hosts.roles()["front"]["pid"])],
        stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    try:
        assert "attached" in strace.stderr.readline()
        for version in ("-tls1_2", "-tls1_3"):
            for asked in ("gw.good.test", "mail.good.test", "a.hosted.test", "unknown.test"):
                shown_to(s_client(hosts, version, "-servername", asked))
                shown_to(s_client(hosts, version, "-servername", asked, "-sigalgs", "rsa_pss_rsae_sha256:RSA+SHA256"))
        for size in (10, 300000):
            smtp.submit(hosts.address("first"), "a@sender.test", "bob@good.test", harness.message(body="x" * 70 + "\r\n" + ("y" * 70 + "\r\n") * (size // 72)))
        assert hosts.command("reload").returncode == 0
        shown_to(s_client(hosts, "-servername", "other.test"))
        with smtp.Client(hosts.address("first")) as c:
            c.ehlo()
            c.expect("STARTTLS", 220)
            c.send(b"no TLS at all\r\n")
            c.rest()
        hosts.tracked("delivered", sender="a@sender.test", count=2)
    finally:
        strace.terminate()
        strace.wait()
    calls = [line for line in trace.read_text().splitlines() if re.search(r" \w+\(.*\"", line) and "AT_EMPTY_PATH" not in line]
    assert not calls, "\n".join(calls)
