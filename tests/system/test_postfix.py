"""Debian's Postfix as the mail server behind, with swaks and curl as clients."""

import os
import pathlib
import pwd
import re
import shutil
import signal
import subprocess

import pytest

import harness

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="Postfix's master wants root")

MAIN = """\
compatibility_level = 3.6
queue_directory = {b}/spool
data_directory = {b}/data
daemon_directory = /usr/lib/postfix/sbin
command_directory = /usr/sbin
mail_owner = postfix
setgid_group = postdrop
myhostname = mx1.good.test
mydomain = good.test
mydestination =
virtual_mailbox_domains = good.test
virtual_mailbox_base = {b}/mail
virtual_mailbox_maps = static:inbox
virtual_uid_maps = static:{uid}
virtual_gid_maps = static:{gid}
virtual_minimum_uid = 100
mynetworks = 192.0.2.1
inet_interfaces = 127.0.0.1
inet_protocols = ipv4
maillog_file = {b}/log
maillog_file_prefixes = /tmp, /var
smtpd_tls_chain_files = {pki}/server.key, {pki}/server.pem
smtpd_tls_security_level = {level}
smtpd_tls_received_header = yes
smtpd_tls_loglevel = 1
smtpd_recipient_restrictions = check_recipient_access inline:{{ nobody@good.test=REJECT }}, reject_unauth_destination
alias_maps =
alias_database =
biff = no
"""


class Postfix:
    """A private instance: own configuration, own queue, in the foreground; mail for good.test lands in one mailbox."""

    def __init__(self, pki, level="may", address=None, more=""):
        self.folder = harness.make_folder()
        nobody = pwd.getpwnam("nobody")
        for name in ("etc", "spool", "data", "mail", "pki"):
            (self.folder / name).mkdir()
        os.chown(self.folder / "mail", nobody.pw_uid, nobody.pw_gid)
        os.chown(self.folder / "data", pwd.getpwnam("postfix").pw_uid, -1)
        pki.copy_to(self.folder / "pki")
        self.address = address or harness.free_address()
        etc = self.folder / "etc"
        (etc / "main.cf").write_text(MAIN.format(b=self.folder, pki=self.folder / "pki", level=level,
            uid=nobody.pw_uid, gid=nobody.pw_gid) + more)
        lines = pathlib.Path("/usr/share/postfix/master.cf.dist").read_text()
        lines = re.sub(r"^smtp\s+inet.*$", f"{self.address} inet n - n - - smtpd", lines, flags=re.M)
        lines = re.sub(r"^(\S+\s+(?:unix|fifo|inet)\s+[yn-]\s+[yn-]\s+)y", r"\1n", lines, flags=re.M)  # no chroot
        (etc / "master.cf").write_text(lines)
        checked = harness.run("postfix", "-c", etc, "check")
        assert checked.returncode == 0, checked.stderr
        self.output = open(self.folder / "output", "wb")
        self.process = subprocess.Popen(["/usr/lib/postfix/sbin/master", "-c", str(etc), "-d"],
            stdin=subprocess.DEVNULL, stdout=self.output, stderr=self.output, env=dict(harness.environment(), MAIL_CONFIG=str(etc)))
        harness.wait_for(lambda: "Postfix answers\n" + self.log(), self.is_ready)

    def is_ready(self):
        import smtp
        assert self.process.poll() is None, self.log()
        host, port = self.address.rsplit(":", 1)
        try:
            with smtp.Client((host, int(port))) as c:
                return c.greeting.code == 220
        except OSError:
            return False

    def log(self):
        return "".join(p.read_text(errors="replace") for p in (self.folder / "log", self.folder / "output") if p.exists())

    def mailbox(self):
        inbox = self.folder / "mail/inbox"
        return inbox.read_text() if inbox.exists() else ""

    def stop(self):
        """master's children end with it."""
        self.process.send_signal(signal.SIGTERM)
        try:
            self.process.wait(timeout=harness.PATIENCE)
        finally:
            self.process.kill()
        self.output.close()
        shutil.rmtree(self.folder, ignore_errors=True)


@pytest.fixture
def make_postfix(pki):
    made = []

    def make(**options):
        made.append(Postfix(pki, **options))
        return made[-1]

    yield make
    for postfix in made:
        print(postfix.log()[-3000:])
        postfix.stop()


def test_swaks_to_postfix_over_tls(make_gateway, make_postfix, pki):
    postfix = make_postfix()
    gateway = make_gateway(next_hop=postfix.address, delivery_tls="required")
    host, port = gateway.address()
    done = harness.run("swaks", "--server", host, "--port", port, "--tls", "--tls-verify", "--tls-ca-path", pki.ca,
        "--from", "swaks@sender.test", "--to", "bob@good.test", "--helo", "swaks.sender.test", "--body",
        "first line\n.dots\n..more\n")
    assert done.returncode == 0, done.stdout + done.stderr
    record = gateway.tracked("delivered", sender="swaks@sender.test")
    (attempt,) = record["recipients"][0]["attempts"]
    tls = attempt["tls"]
    assert (tls["desired"], tls["obtained"], tls["protocol"]) == ("required", "encrypted", "TLSv1.3")
    assert tls["peer"]["sha256"] == pki.fingerprint()
    assert re.match(r"250 2\.0\.0 Ok: \d+ bytes queued as \w+", attempt["reply"]), attempt["reply"]

    text = harness.wait_for("the mail is in the mailbox", postfix.mailbox)
    assert "\n.dots\n..more\n" in text
    received = re.sub(r"\n\s+", " ", text)
    assert f"(using {tls['protocol']} with cipher {tls['cipher']}" in received, "what Postfix saw is what we tracked"
    assert f"from {harness.HOSTNAME}" in received
    assert "with ESMTPS" in received


def test_curl_to_postfix(make_gateway, make_postfix, pki):
    postfix = make_postfix()
    gateway = make_gateway(next_hop=postfix.address)
    host, port = gateway.address()
    file = gateway.folder / "sent.eml"
    file.write_bytes(harness.message("from curl", sender="curl@sender.test"))
    done = harness.run("curl", "--silent", "--show-error", "--ssl-reqd", "--cacert", pki.ca, "--mail-from",
        "curl@sender.test", "--mail-rcpt", "bob@good.test", "--upload-file", file, f"smtp://{host}:{port}")
    assert done.returncode == 0, done.stderr
    gateway.tracked("delivered", sender="curl@sender.test")
    assert "Subject: from curl" in harness.wait_for("the mail is in the mailbox", postfix.mailbox)


def test_postfix_without_tls_and_required_defers_until_it_has_tls(make_gateway, make_postfix, pki):
    import smtp
    without = make_postfix(level="none")
    gateway = make_gateway(next_hop=without.address, delivery_tls="required", delivery={"retry": ["1s"]})
    smtp.submit(gateway.address(), "alice@sender.test", "bob@good.test", harness.message())
    gateway.tracked("deferred", sender="alice@sender.test")
    assert without.mailbox() == ""
    with_tls = make_postfix(level="may")
    gateway.configure(harness.settings(next_hop=with_tls.address, delivery_tls="required", delivery={"retry": ["1s"]}))
    assert gateway.command("reload").returncode == 0
    record = gateway.tracked("delivered", sender="alice@sender.test")
    assert record["recipients"][0]["attempts"][-1]["tls"]["obtained"] == "encrypted"


def test_postfix_refuses_a_recipient(make_gateway, make_postfix):
    import smtp
    postfix = make_postfix()
    gateway = make_gateway(next_hop=postfix.address)
    smtp.submit(gateway.address(), "alice@sender.test", ["nobody@good.test", "bob@good.test"], harness.message())

    def states():
        found = {r["address"]: r["state"] for record in gateway.track(sender="alice@sender.test")
            for r in record["recipients"]}
        return found == {"nobody@good.test": "bounced", "bob@good.test": "delivered"}

    harness.wait_for("each recipient has its outcome", states)
