"""Real clients through STARTTLS, with the gateway's certificate checked: command-line tools, smtplib, Postfix, Exim."""

import os
import shutil
import smtplib
import ssl
import subprocess

import pytest

import harness
import smtp
import test_postfix
import unpacked

as_root = pytest.mark.skipif(os.geteuid() != 0, reason="mail servers want to be started by root")


# Text in several scripts, 8 bits, dots at the beginning of lines
TEXT = "Grüße, καλημέρα, 今日は\r\n.\r\n..\r\n.leading dot\r\n" + "x" * 900 + "\r\n"


def large(size):
    """A message with 8-bit lines."""
    return harness.message("large", "".join(f"{n} Größe {'ä' * 60}\r\n" for n in range(size // 140)))


@pytest.fixture
def other_ca(tmp_path):
    """An authority that did not sign the gateway's certificate."""
    return harness.Pki(tmp_path / "other").ca


# Tools: each takes (address, CA file, file with the mail) and runs to its end


def run(folder, *command, text=None):
    """Like harness.run(), with a home directory of its own and text on standard input."""
    return subprocess.run([str(c) for c in command], input=text, capture_output=True, timeout=harness.PATIENCE,
        env=dict(harness.environment(), HOME=str(folder)), cwd=folder)


def curl(address, ca, file):
    return run(file.parent, "curl", "--silent", "--show-error", "--ssl-reqd", "--cacert", ca, "--mail-from", "tool@sender.test",
        "--mail-rcpt", "bob@good.test", "--upload-file", file, f"smtp://localhost:{address[1]}/client.sender.test", "--ipv4")


def swaks(address, ca, file):
    return run(file.parent, "swaks", "--server", "127.0.0.1", "--port", address[1], "--tls", "--tls-verify", "--tls-ca-path", ca,
        "--from", "tool@sender.test", "--to", "bob@good.test", "--helo", "client.sender.test", "--data", f"@{file}")


def swaks_pipelining(address, ca, file):
    return run(file.parent, "swaks", "--server", "127.0.0.1", "--port", address[1], "--tls", "--tls-verify", "--tls-ca-path", ca,
        "--from", "tool@sender.test", "--to", "bob@good.test", "--helo", "client.sender.test", "--data", f"@{file}", "--pipeline")


def msmtp(address, ca, file):
    return run(file.parent, "msmtp", "--host=localhost", f"--port={address[1]}", "--tls=on", "--tls-starttls=on", f"--tls-trust-file={ca}",
        "--auth=off", "--from=tool@sender.test", "bob@good.test", text=file.read_bytes().replace(b"\r\n", b"\n"))


def s_nail(address, ca, file):
    return run(file.parent, "s-nail", "-:/", "-Sv15-compat", f"-Smta=smtp://localhost:{address[1]}", "-Ssmtp-use-starttls", "-Stls-verify=strict",
        f"-Stls-ca-file={ca}", "-Stls-ca-no-defaults", "-Ssmtp-auth=none", "-Sfrom=tool@sender.test", "-Sttycharset=utf-8", "-s", "nail",
        "bob@good.test", text=TEXT.replace("\r\n", "\n").encode())


def smtplib_(address, ca, file):
    """In a process of its own, so that a failure looks like that of the others."""
    script = ("import smtplib, ssl, sys\n"
        "with smtplib.SMTP('localhost', int(sys.argv[1]), 'client.sender.test', source_address=('127.0.0.1', 0)) as s:\n"
        "    s.starttls(context=ssl.create_default_context(cafile=sys.argv[2]))\n"
        "    s.sendmail('tool@sender.test', ['bob@good.test'], open(sys.argv[3], 'rb').read(), ['BODY=8BITMIME'])\n")
    return run(file.parent, "/usr/bin/python3", "-c", script, address[1], ca, file)


TOOLS = {tool.__name__.strip("_"): tool for tool in (curl, swaks, swaks_pipelining, msmtp, s_nail, smtplib_)}


@pytest.mark.parametrize("name", TOOLS)
def test_a_tool_delivers_through_starttls(gateway, sink, pki, tmp_path, name):
    content = harness.message("from a tool", TEXT)
    file = tmp_path / "mail.eml"
    file.write_bytes(content)
    done = TOOLS[name](gateway.address(), pki.ca, file)
    assert done.returncode == 0, done
    record = gateway.tracked("delivered", sender="tool@sender.test")
    assert record["inbound"]["tls"]["obtained"] == "encrypted"
    received = sink.content(sink.wait()[0])
    if name == "s_nail":  # it makes the header itself, and chooses the encoding
        assert b"Subject: nail\r\n" in received
    else:
        assert received.endswith(TEXT.encode()) or received.endswith(TEXT.encode() + b"\r\n"), received[-200:]


@pytest.mark.parametrize("name", TOOLS)
def test_a_tool_that_does_not_trust_us_sends_nothing(gateway, other_ca, tmp_path, name):
    """The check of the certificate in the test above is real."""
    file = tmp_path / "mail.eml"
    file.write_bytes(harness.message())
    done = TOOLS[name](gateway.address(), other_ca, file)
    assert done.returncode != 0, done
    assert gateway.track(sender="tool@sender.test") == []


def test_smtplib_sends_utf8_addresses(gateway, sink, pki):
    with smtplib.SMTP("127.0.0.1", gateway.address()[1], "client.sender.test") as s:
        s.starttls(context=ssl.create_default_context(cafile=str(pki.ca)))
        s.ehlo()
        assert s.has_extn("SMTPUTF8")
        s.sendmail("jürgen@sender.test", ["jürgen@good.test"], harness.message("utf8", TEXT), ["SMTPUTF8", "BODY=8BITMIME"])
    gateway.tracked("delivered", sender="jürgen@sender.test")
    assert sink.wait()[0]["recipients"] == ["jürgen@good.test"]


def test_smtplib_many_mails_in_one_session(gateway, sink, pki):
    with smtplib.SMTP("127.0.0.1", gateway.address()[1], "client.sender.test") as s:
        s.starttls(context=ssl.create_default_context(cafile=str(pki.ca)))
        for n in range(20):
            s.sendmail(f"n{n}@sender.test", ["bob@good.test", "carol@good.test"], harness.message(f"mail {n}"))
            with pytest.raises(smtplib.SMTPRecipientsRefused):
                s.sendmail(f"n{n}@sender.test", ["x@elsewhere.test"], harness.message())
    assert len(sink.wait(20)) == 20


# Postfix


SENDING = """\
mynetworks = 127.0.0.0/8
virtual_mailbox_domains =
relayhost = [127.0.0.1]:{port}
smtp_tls_security_level = verify
smtp_tls_verify_cert_match = gw.good.test
smtp_tls_CAfile = {{pki}}/ca.pem
smtp_tls_loglevel = 1
smtp_host_lookup = native
smtpd_recipient_restrictions = permit_mynetworks, reject
smtputf8_enable = yes
message_size_limit = 50000000
"""


@pytest.fixture
def postfix(gateway, pki, monkeypatch):
    """A Postfix that sends everything to the gateway, and checks its certificate."""
    sending = SENDING.format(port=gateway.address()[1])
    keys = {line.split(" = ")[0].removesuffix(" =") for line in sending.splitlines()}
    # no key twice: a warning at the start of each of its programs can fill the socket of its log before that is read
    rest = [line for line in test_postfix.MAIN.splitlines(True) if line.split(" =")[0] not in keys]
    monkeypatch.setattr(test_postfix, "MAIN", "".join(rest) + sending)
    instance = test_postfix.Postfix(pki)
    yield instance
    instance.stop()
    shutil.rmtree(instance.folder, ignore_errors=True)


def through_postfix(postfix, sender, recipient, content, parameters=""):
    host, port = postfix.address.rsplit(":", 1)
    with smtp.Client((host, int(port))) as c:
        c.ehlo()
        c.envelope(sender, recipient, parameters)
        reply = c.data(content)
        assert reply.code == 250, reply
        c.quit()


@as_root
@pytest.mark.parametrize("size", [500, 5_000_000], ids=["small", "large"])
def test_postfix_as_sender(postfix, gateway, sink, size):
    content = large(size)
    through_postfix(postfix, "pf@sender.test", "bob@good.test", content, "BODY=8BITMIME")
    record = gateway.tracked("delivered", sender="pf@sender.test")
    assert record["inbound"]["tls"]["obtained"] == "encrypted"
    assert sink.content(sink.wait()[0]).endswith(content)
    harness.wait_for(lambda: "the result is logged\n" + postfix.log(), lambda: "status=sent" in postfix.log())
    assert "Verified TLS connection established" in postfix.log()


@as_root
def test_postfix_sends_utf8_addresses(postfix, gateway, sink):
    content = harness.message("Grüße", TEXT).replace(b"<bob@", "<jürgen@".encode())
    through_postfix(postfix, "jürgen@sender.test", "jürgen@good.test", content, "SMTPUTF8 BODY=8BITMIME")
    harness.wait_for(lambda: "Postfix has its answer\n" + postfix.log(), lambda: "to=<jürgen@good.test>" in postfix.log())
    assert "status=sent" in postfix.log(), postfix.log()
    gateway.tracked("delivered", sender="jürgen@sender.test")
    (line,) = sink.wait()
    assert (line["sender"], line["recipients"]) == ("jürgen@sender.test", ["jürgen@good.test"])
    assert sink.content(line).endswith(TEXT.encode())


@as_root
def test_postfix_sends_with_dsn_parameters(postfix, gateway, sink):
    host, port = postfix.address.rsplit(":", 1)
    with smtp.Client((host, int(port))) as c:
        c.ehlo()
        c.expect("MAIL FROM:<dsn@sender.test> RET=HDRS ENVID=a+2Bb", 250)
        c.expect("RCPT TO:<bob@good.test> NOTIFY=FAILURE,DELAY ORCPT=rfc822;Bob+2Bx@good.test", 250)
        assert c.data(harness.message()).code == 250
        c.quit()
    gateway.tracked("delivered", sender="dsn@sender.test")
    assert len(sink.wait()) == 1


# Exim

EXIM = """\
exim_path = {exim}
spool_directory = {run}/spool
log_file_path = {run}/%slog
pid_file_path = {run}/exim.pid
notifier_socket =
primary_hostname = client.sender.test
qualify_domain = sender.test
keep_environment =
host_lookup =
rfc1413_query_timeout = 0s
smtp_enforce_sync = false
smtputf8_advertise_hosts = *
trusted_users = root
acl_smtp_mail = accept
acl_smtp_rcpt = accept
acl_smtp_data = accept
deliver_drop_privilege = true
message_size_limit = 50M
log_selector = +tls_peerdn +tls_cipher +tls_certificate_verified +smtp_confirmation
tls_advertise_hosts =
begin routers
gateway:
  driver = manualroute
  route_list = * 127.0.0.1 byname
  self = send
  transport = smtp
begin transports
smtp:
  driver = smtp
  port = {port}
  allow_localhost
  hosts_require_tls = *
  tls_verify_certificates = {pki}/ca.pem
  tls_verify_hosts = *
  tls_verify_cert_hostnames =
begin retry
* * F,1h,5m
"""


@pytest.fixture(scope="session")
def exim_user():
    """The account that Debian's Exim was built for."""
    return unpacked.account("Debian-exim")


@pytest.fixture(scope="session")
def exim_binary(exim_user):
    """Debian's Exim, unpacked: it cannot be installed next to Postfix."""
    binary = unpacked.package("exim4-daemon-heavy", "exim") / "usr/sbin/exim4"
    found = harness.run(binary, "-bV")
    assert "Exim version 4" in found.stdout, f"Exim does not run: {found.stderr}"
    return binary


class Exim:
    """Sends each mail at once, in the foreground."""

    def __init__(self, binary, user, pki, port):
        self.binary, self.folder = binary, harness.make_folder()
        self.file = self.folder / "exim.conf"
        pki.copy_to(self.folder / "pki")
        for name in ("run", "run/spool"):
            (self.folder / name).mkdir()
            os.chown(self.folder / name, user.pw_uid, user.pw_gid)
        self.file.write_text(EXIM.format(exim=binary, run=self.folder / "run", port=port, pki=self.folder / "pki"))

    def send(self, sender, recipient, content, parameters=""):
        stuffed = content.replace(b"\r\n.", b"\r\n..")
        session = (f"EHLO x\r\nMAIL FROM:<{sender}> {parameters}".rstrip() + f"\r\nRCPT TO:<{recipient}>\r\nDATA\r\n").encode() \
            + stuffed + b".\r\nQUIT\r\n"
        done = subprocess.run([str(self.binary), "-C", str(self.file), "-odf", "-bs"], input=session, capture_output=True, timeout=60,
            env=harness.environment())
        assert done.returncode == 0 and b"\r\n250 OK id=" in done.stdout, (done.stdout, done.stderr, self.log())
        harness.wait_for(lambda: "Exim has sent it\n" + self.log(), lambda: "Completed" in self.log() or " == " in self.log())
        return self.log()

    def log(self):
        return "".join(p.read_text(errors="replace") for p in sorted((self.folder / "run").glob("*log")))


@pytest.fixture
def exim(exim_binary, exim_user, gateway, pki):
    instance = Exim(exim_binary, exim_user, pki, gateway.address()[1])
    yield instance
    shutil.rmtree(instance.folder, ignore_errors=True)


@as_root
@pytest.mark.parametrize("size", [500, 5_000_000], ids=["small", "large"])
def test_exim_as_sender_with_bdat(exim, gateway, sink, size):
    content = large(size)
    log = exim.send("exim@sender.test", "bob@good.test", content, "BODY=8BITMIME")
    assert " => bob@good.test" in log, log
    assert " CV=yes" in log and " K " in log, f"it checked our certificate, and used CHUNKING (K):\n{log}"
    record = gateway.tracked("delivered", sender="exim@sender.test")
    assert record["inbound"]["tls"]["obtained"] == "encrypted"
    assert sink.content(sink.wait()[0]).endswith(content.partition(b"\r\n\r\n")[2])


@as_root
def test_exim_sends_utf8_addresses(exim, gateway, sink):
    log = exim.send("jürgen@sender.test", "jürgen@good.test", harness.message("utf8", TEXT), "SMTPUTF8 BODY=8BITMIME")
    assert " => " in log, log
    gateway.tracked("delivered", sender="jürgen@sender.test")
    assert sink.wait()[0]["recipients"] == ["jürgen@good.test"]
