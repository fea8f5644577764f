"""Real mail servers: Postfix and Exim behind the gateway, OpenSMTPD in front of it. Exim and Postfix as senders are in test_clients.py."""

import os
import re
import shutil
import signal
import subprocess

import pytest

import harness
import smtp
import unpacked
from test_clients import exim_binary, exim_user, large  # noqa: F401 (fixtures)
from test_postfix import make_postfix  # noqa: F401 (a fixture)

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="mail servers want to be started by root")

LATER = {"retry": ["1h"]}
TEXT = "Grüße, καλημέρα\r\n.\r\n..\r\n.leading dot\r\n" + "x" * 900 + "\r\n"


def hand_in(gateway, sender, recipients, content, parameters="", rcpt_parameters=""):
    with smtp.Client(gateway.address()) as c:
        c.ehlo()
        c.expect(f"MAIL FROM:<{sender}> {parameters}".rstrip(), 250)
        for recipient in [recipients] if isinstance(recipients, str) else recipients:
            c.expect(f"RCPT TO:<{recipient}> {rcpt_parameters}".rstrip(), 250)
        reply = c.data(content)
        assert reply.code == 250, reply
        c.quit()


def attempts(record):
    return [a for r in record["recipients"] for a in r["attempts"]]


# Exim as receiver

EXIM = """\
exim_path = {exim}
spool_directory = {run}/spool
log_file_path = {run}/%slog
pid_file_path = {run}/exim.pid
notifier_socket =
primary_hostname = mx1.good.test
domainlist local_domains = good.test
local_interfaces = 127.0.0.1
daemon_smtp_ports = {port}
keep_environment =
host_lookup =
rfc1413_query_timeout = 0s
smtputf8_advertise_hosts = *
chunking_advertise_hosts = *
dsn_advertise_hosts = *
tls_advertise_hosts = *
tls_certificate = {pki}/server.pem
tls_privatekey = {pki}/server.key
acl_smtp_mail = accept
acl_smtp_rcpt = rcpt
acl_smtp_data = accept
deliver_drop_privilege = true
log_selector = +tls_cipher +smtp_mailauth +received_recipients
message_size_limit = 50M
begin acl
rcpt:
  deny local_parts = nobody
       message = no such user here
  defer local_parts = later
  accept
begin routers
local:
  driver = accept
  domains = +local_domains
  transport = file
begin transports
file:
  driver = appendfile
  file = {run}/inbox
  user = {user}
  group = {group}
begin retry
* * F,1h,5m
"""


class EximServer:
    """Listens, and delivers mail for good.test into one mailbox. Options replace those above, or are added; `sections` come behind all others."""

    def __init__(self, binary, user, pki, sections="", **options):
        self.folder = harness.make_folder()
        self.run = self.folder / "run"
        pki.copy_to(self.folder / "pki")
        for folder in (self.run, self.run / "spool"):
            folder.mkdir()
            os.chown(folder, user.pw_uid, user.pw_gid)
        os.chown(self.folder / "pki/server.key", user.pw_uid, -1)
        self.address = harness.free_address()
        self.port = int(self.address.rsplit(":", 1)[1])
        file = self.folder / "exim.conf"
        text = EXIM
        for name, value in options.items():
            text = f"{name} = {value}\n" + re.sub(f"(?m)^{name} = .*\n", "", text)
        file.write_text(text.format(exim=binary, run=self.run, port=self.port, pki=self.folder / "pki", user=user.pw_name, group=user.pw_gid)
            + sections)
        self.output = open(self.folder / "output", "wb")
        self.process = subprocess.Popen([str(binary), "-C", str(file), "-bdf"], stdin=subprocess.DEVNULL, stdout=self.output, stderr=self.output,
            env=harness.environment())
        harness.wait_for(lambda: "Exim answers\n" + self.log(), self.is_ready)

    def is_ready(self):
        assert self.process.poll() is None, self.log()
        host, port = self.address.rsplit(":", 1)
        try:
            with smtp.Client((host, int(port))) as c:
                return c.greeting.code == 220
        except OSError:
            return False

    def log(self):
        return "".join(p.read_text(errors="replace") for p in [*sorted(self.run.glob("*log")), self.folder / "output"] if p.exists())

    def mailbox(self):
        inbox = self.run / "inbox"
        return inbox.read_bytes() if inbox.exists() else b""

    def wait_mail(self, part, count=1):
        return harness.wait_for(lambda: f"{count} mails with {part} are in the mailbox\n" + self.log(),
            lambda: self.mailbox().count(part) >= count and self.mailbox())

    def stop(self):
        self.process.send_signal(signal.SIGTERM)
        try:
            self.process.wait(timeout=harness.PATIENCE)
        finally:
            self.process.kill()
        self.output.close()
        shutil.rmtree(self.folder, ignore_errors=True)


@pytest.fixture
def make_exim(exim_binary, exim_user, pki):  # noqa: F811
    made = []

    def make(**options):
        made.append(EximServer(exim_binary, exim_user, pki, **options))
        return made[-1]

    yield make
    for server in made:
        print(server.log()[-3000:])
        server.stop()


@pytest.mark.parametrize("size", [500, 5_000_000], ids=["small", "large"])
def test_exim_as_receiver_by_starttls_and_bdat(make_gateway, make_exim, pki, size):
    exim = make_exim()
    gateway = make_gateway(next_hop=exim.address, delivery_tls="required")
    content = large(size)
    hand_in(gateway, "alice@sender.test", "bob@good.test", content, "BODY=8BITMIME")
    (attempt,) = attempts(gateway.tracked("delivered", sender="alice@sender.test"))
    assert attempt["tls"]["obtained"] == "encrypted" and attempt["tls"]["peer"]["sha256"] == pki.fingerprint()
    assert re.match(r"250 .* OK id=\S+$", attempt["reply"]), attempt["reply"]
    body = content.partition(b"\r\n\r\n")[2].replace(b"\r\n", b"\n")
    assert body in exim.wait_mail(b"Subject: large")
    assert re.search(r" <= alice@sender\.test .* P=esmtps .* K ", exim.log()), f"esmtps, and K for CHUNKING:\n{exim.log()}"


def test_exim_takes_dots_and_8_bits_unchanged(make_gateway, make_exim):
    exim = make_exim()
    gateway = make_gateway(next_hop=exim.address)
    hand_in(gateway, "alice@sender.test", "bob@good.test", harness.message("dots", TEXT), "BODY=8BITMIME")
    gateway.tracked("delivered", sender="alice@sender.test")
    assert TEXT.replace("\r\n", "\n").encode() in exim.wait_mail(b"Subject: dots")


def test_exim_takes_utf8_addresses(make_gateway, make_exim):
    exim = make_exim()
    gateway = make_gateway(next_hop=exim.address)
    hand_in(gateway, "jürgen@sender.test", "jürgen@good.test", harness.message("Grüße", TEXT), "SMTPUTF8 BODY=8BITMIME")
    gateway.tracked("delivered", sender="jürgen@sender.test")
    assert "Subject: Grüße".encode() in exim.wait_mail(b"Subject: Gr")


def test_exim_without_chunking_gets_dots(make_gateway, make_exim):
    exim = make_exim(chunking_advertise_hosts=":")
    gateway = make_gateway(next_hop=exim.address)
    hand_in(gateway, "alice@sender.test", "bob@good.test", harness.message("dots", TEXT), "BODY=8BITMIME")
    gateway.tracked("delivered", sender="alice@sender.test")
    assert TEXT.replace("\r\n", "\n").encode() in exim.wait_mail(b"Subject: dots")
    assert " K " not in exim.log()


def test_1_41_exim_without_smtputf8(make_gateway, make_exim):
    exim = make_exim(smtputf8_advertise_hosts=":")
    gateway = make_gateway(next_hop=exim.address)
    hand_in(gateway, "jürgen@sender.test", "bob@good.test", harness.message(), "SMTPUTF8")
    assert attempts(gateway.tracked("bounced", sender="jürgen@sender.test"))[0]["reply"].startswith("553 5.6.7")
    hand_in(gateway, "alice@sender.test", "bob@good.test", harness.message("plain"), "SMTPUTF8")
    gateway.tracked("delivered", sender="alice@sender.test")


def test_1_43_exim_sees_the_dsn_parameters(make_gateway, make_exim):
    exim = make_exim()
    gateway = make_gateway(next_hop=exim.address)
    hand_in(gateway, "alice@good.test", "bob@good.test", harness.message(), "RET=HDRS ENVID=QQ+2B1", "NOTIFY=SUCCESS ORCPT=rfc822;Bob+2B40x@good.test")
    gateway.tracked("delivered", sender="alice@good.test")
    report = exim.wait_mail(b"Reporting-MTA:").decode()
    assert "Original-Envelope-ID: QQ+2B1\n" in report or "Original-Envelope-ID: QQ+1\n" in report, report
    assert re.search(r"Original-Recipient: rfc822;Bob\+(2B)?40x@good\.test\n", report), report
    assert "Action: delivered" in report


def test_2_25_exim_with_a_limit_of_recipients(make_gateway, make_exim):
    exim = make_exim(recipients_max=4)
    gateway = make_gateway(next_hop=exim.address, delivery=LATER)
    people = [f"u{n}@good.test" for n in range(10)]
    hand_in(gateway, "alice@sender.test", people, harness.message("split"))
    record = gateway.tracked("delivered", sender="alice@sender.test")
    assert len(attempts(record)) == 10 and len({a["dcid"] for a in attempts(record)}) == 1
    assert [len(line.split(" for ")[1].split()) for line in exim.log().splitlines() if " <= " in line] == [4, 4, 2]


def test_2_23_exim_refuses_one_defers_another(make_gateway, make_exim):
    exim = make_exim()
    gateway = make_gateway(next_hop=exim.address, delivery=LATER)
    hand_in(gateway, "alice@sender.test", ["nobody@good.test", "later@good.test", "bob@good.test"], harness.message("mixed"))
    exim.wait_mail(b"Subject: mixed")
    harness.wait_for("each has its outcome", lambda: {r["address"].split("@")[0]: r["state"]
        for r in gateway.track(sender="alice@sender.test")[0]["recipients"]} == {"nobody": "bounced", "later": "deferred", "bob": "delivered"})


def test_2_24_exim_with_a_size_limit(make_gateway, make_exim):
    exim = make_exim(message_size_limit="10k")
    gateway = make_gateway(next_hop=exim.address, delivery=LATER)
    hand_in(gateway, "alice@sender.test", "bob@good.test", large(20_000), "BODY=8BITMIME")
    assert attempts(gateway.tracked("bounced", sender="alice@sender.test"))[0]["reply"].startswith("552 5.3.4")


# Postfix as receiver


@pytest.mark.parametrize("size", [500, 5_000_000], ids=["small", "large"])
def test_postfix_as_receiver_by_bdat(make_gateway, make_postfix, size):  # noqa: F811
    postfix = make_postfix(more="message_size_limit = 50000000\nvirtual_mailbox_limit = 0\n")
    gateway = make_gateway(next_hop=postfix.address, delivery_tls="required")
    content = large(size)
    hand_in(gateway, "alice@sender.test", "bob@good.test", content, "BODY=8BITMIME")
    gateway.tracked("delivered", sender="alice@sender.test")
    body = content.partition(b"\r\n\r\n")[2].replace(b"\r\n", b"\n").decode()
    harness.wait_for("the mail is in the mailbox", lambda: body in postfix.mailbox())
    assert re.search(r"disconnect from .* bdat=1 ", harness.wait_for("the session ended", lambda: " bdat=" in postfix.log() and postfix.log())), postfix.log()


def test_postfix_without_chunking_gets_dots(make_gateway, make_postfix):  # noqa: F811
    postfix = make_postfix(more="smtpd_discard_ehlo_keywords = chunking, silent-discard\n")
    gateway = make_gateway(next_hop=postfix.address)
    hand_in(gateway, "alice@sender.test", "bob@good.test", harness.message("dots", TEXT), "BODY=8BITMIME")
    gateway.tracked("delivered", sender="alice@sender.test")
    harness.wait_for("the mail is in the mailbox", lambda: TEXT.replace("\r\n", "\n") in postfix.mailbox())
    assert " data=1 " in harness.wait_for("the session ended", lambda: " data=" in postfix.log() and postfix.log())


def test_postfix_takes_utf8_addresses(make_gateway, make_postfix):  # noqa: F811
    postfix = make_postfix(more="smtputf8_enable = yes\n")
    gateway = make_gateway(next_hop=postfix.address)
    hand_in(gateway, "jürgen@sender.test", "jürgen@good.test", harness.message("Grüße", TEXT), "SMTPUTF8 BODY=8BITMIME")
    gateway.tracked("delivered", sender="jürgen@sender.test")
    assert "Subject: Grüße" in harness.wait_for("the mail is in the mailbox", postfix.mailbox)


def test_1_41_postfix_without_smtputf8(make_gateway, make_postfix):  # noqa: F811
    postfix = make_postfix(more="smtputf8_enable = no\n")
    gateway = make_gateway(next_hop=postfix.address)
    hand_in(gateway, "jürgen@sender.test", "bob@good.test", harness.message(), "SMTPUTF8")
    assert attempts(gateway.tracked("bounced", sender="jürgen@sender.test"))[0]["reply"].startswith("553 5.6.7")
    hand_in(gateway, "alice@sender.test", "bob@good.test", harness.message("plain"), "SMTPUTF8")
    gateway.tracked("delivered", sender="alice@sender.test")


def test_1_43_postfix_sees_the_dsn_parameters(make_gateway, make_postfix):  # noqa: F811
    postfix = make_postfix()
    gateway = make_gateway(next_hop=postfix.address)
    hand_in(gateway, "alice@good.test", "bob@good.test", harness.message(), "RET=HDRS ENVID=QQ+2B1",
        "NOTIFY=SUCCESS ORCPT=rfc822;Bob+2B40x@good.test")
    gateway.tracked("delivered", sender="alice@good.test")
    report = harness.wait_for("the report is in the mailbox", lambda: "Original-Envelope-Id:" in postfix.mailbox() and postfix.mailbox())
    assert "Original-Envelope-Id: QQ+1\n" in report and "Original-Recipient: rfc822;Bob+40x@good.test\n" in report
    assert "Action: delivered" in report


def test_2_25_postfix_with_a_limit_of_recipients(make_gateway, make_postfix):  # noqa: F811
    postfix = make_postfix(more="smtpd_recipient_limit = 4\n")
    gateway = make_gateway(next_hop=postfix.address, delivery=LATER)
    people = [f"u{n}@good.test" for n in range(10)]
    hand_in(gateway, "alice@sender.test", people, harness.message("split"))
    record = gateway.tracked("delivered", sender="alice@sender.test")
    assert len(attempts(record)) == 10 and len({a["dcid"] for a in attempts(record)}) == 1
    harness.wait_for("all of it is delivered", lambda: len(set(re.findall(r"to=<(u\d@good\.test)>.*status=sent", postfix.log()))) == 10)
    harness.wait_for(lambda: "one session for all\n" + postfix.log(), lambda: re.search(r"disconnect from .* mail=3 rcpt=\S+ bdat=3", postfix.log()))


def test_2_24_postfix_with_a_size_limit(make_gateway, make_postfix):  # noqa: F811
    postfix = make_postfix(more="message_size_limit = 10000\nvirtual_mailbox_limit = 0\n")
    gateway = make_gateway(next_hop=postfix.address, delivery=LATER)
    hand_in(gateway, "alice@sender.test", "bob@good.test", large(20_000), "BODY=8BITMIME")
    assert attempts(gateway.tracked("bounced", sender="alice@sender.test"))[0]["reply"].startswith("552 5.3.4")


def test_postfix_that_greets_with_4xx_and_then_recovers_gets_the_mail(make_gateway, make_postfix):  # noqa: F811
    postfix = make_postfix(more="smtpd_delay_reject = no\n")

    def set_restrictions(value, code):
        etc = postfix.folder / "etc"
        assert harness.run("postconf", "-c", etc, "-e", f"smtpd_client_restrictions = {value}").returncode == 0
        assert harness.run("postfix", "-c", etc, "reload").returncode == 0

        def greets():
            with smtp.Client(("127.0.0.1", int(postfix.address.rsplit(":", 1)[1]))) as c:
                return c.greeting.code == code
        harness.wait_for(lambda: f"Postfix greets with {code}\n" + postfix.log(), greets)

    set_restrictions("defer", 450)
    gateway = make_gateway(next_hop=postfix.address, delivery={"retry": ["500ms"]})
    hand_in(gateway, "alice@sender.test", "bob@good.test", harness.message("patience"))
    record = gateway.tracked("deferred", sender="alice@sender.test")
    assert attempts(record)[0]["reply"].startswith("450 4.3.2 the peer refused the connection: 450 4."), attempts(record)
    set_restrictions("", 220)
    gateway.tracked("delivered", sender="alice@sender.test")
    assert "Subject: patience" in harness.wait_for("the mail is in the mailbox", postfix.mailbox)


# OpenSMTPD as sender

SMTPD = """\
ca testca cert "{pki}/ca.pem"
listen on 127.0.0.1 port {port} hostname client.sender.test
action "out" relay host smtp+tls://localhost:{gateway} ca testca tls helo client.sender.test
match from any for any action "out"
"""

# Its paths are compiled in. In a mount namespace of its own they are empty folders, and nobody else sees them.
START = """\
set -e
mount -t tmpfs -o mode=755 none /var/lib
mkdir -p /var/lib/opensmtpd/empty
mount -t tmpfs -o mode=755 none /var/spool
mkdir -m 711 /var/spool/smtpd
mount -t tmpfs -o mode=755 none /run
mount --bind "$1/usr/libexec" /usr/libexec
exec "$1/usr/sbin/smtpd" -d -v -f "$2"
"""


class OpenSmtpd:
    def __init__(self, package, pki, gateway):
        self.folder = harness.make_folder()
        pki.copy_to(self.folder / "pki")
        self.address = harness.free_address()
        file = self.folder / "smtpd.conf"
        file.write_text(SMTPD.format(pki=self.folder / "pki", port=self.address.rsplit(":", 1)[1], gateway=gateway))
        self.output = open(self.folder / "output", "wb")
        self.process = subprocess.Popen(["unshare", "-m", "bash", "-c", START, "start", str(package), str(file)], stdin=subprocess.DEVNULL,
            stdout=self.output, stderr=self.output, env=harness.environment())
        harness.wait_for(lambda: "OpenSMTPD answers\n" + self.log(), self.is_ready)

    def is_ready(self):
        assert self.process.poll() is None, self.log()
        host, port = self.address.rsplit(":", 1)
        try:
            with smtp.Client((host, int(port))) as c:
                return c.greeting.code == 220
        except OSError:
            return False

    def log(self):
        return (self.folder / "output").read_text(errors="replace")

    def send(self, sender, recipient, content, parameters=""):
        host, port = self.address.rsplit(":", 1)
        with smtp.Client((host, int(port))) as c:
            c.ehlo()
            c.envelope(sender, recipient, parameters)
            reply = c.data(content)
            assert reply.code == 250, reply
            c.quit()
        harness.wait_for(lambda: "it has tried to send the mail\n" + self.log(), lambda: " mta delivery " in self.log() or " mta error " in self.log())
        return self.log()

    def stop(self):
        self.process.send_signal(signal.SIGTERM)
        try:
            self.process.wait(timeout=harness.PATIENCE)
        finally:
            self.process.kill()
        self.output.close()
        shutil.rmtree(self.folder, ignore_errors=True)


@pytest.fixture
def make_opensmtpd(gateway):
    for name in ("opensmtpd", "opensmtpq"):
        unpacked.account(name)
    made = []

    def make(pki):
        made.append(OpenSmtpd(unpacked.package("opensmtpd", "opensmtpd"), pki, gateway.address()[1]))
        return made[-1]

    yield make
    for server in made:
        print(server.log()[-3000:])
        server.stop()


@pytest.mark.parametrize("size", [500, 5_000_000], ids=["small", "large"])
def test_opensmtpd_as_sender(make_opensmtpd, gateway, sink, pki, size):
    content = large(size)
    log = make_opensmtpd(pki).send("ob@sender.test", "bob@good.test", content)
    assert 'result="Ok"' in log, log
    record = gateway.tracked("delivered", sender="ob@sender.test")
    assert record["inbound"]["tls"]["obtained"] == "encrypted"
    assert 'server-cert-check result="success"' in log, log
    assert sink.content(sink.wait()[0]).endswith(content.partition(b"\r\n\r\n")[2])


def test_opensmtpd_that_does_not_trust_us_sends_nothing(make_opensmtpd, gateway, tmp_path):
    """The check of the certificate in the test above is real."""
    log = make_opensmtpd(harness.Pki(tmp_path / "other")).send("ob@sender.test", "bob@good.test", harness.message())
    assert 'result="Ok"' not in log and 'server-cert-check result="success"' not in log, log
    assert gateway.track(sender="ob@sender.test") == []
