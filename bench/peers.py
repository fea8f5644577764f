"""The servers that are measured, each started in a directory and a group of its own: this gateway, Debian's Postfix and Exim."""

import contextlib
import os
import pathlib
import pwd
import re
import shutil
import signal
import smtplib
import subprocess

from tools import Group
import harness
import unpacked

# Put before a command: each sync of its processes takes 5 ms more. Nothing else is stopped.
SLOW_DISK = ["strace", "-D", "-f", "-qqq", "--seccomp-bpf", "-e", "trace=fsync,fdatasync", "-e", "signal=none", "-e",
    "inject=fsync,fdatasync:delay_enter=5000", "-o", "/dev/null"]

# Both log as they do when installed (to a file), and keep each mail on disk before they say 250.
MAIN = """\
compatibility_level = 3.6
queue_directory = {folder}/spool
data_directory = {folder}/data
daemon_directory = /usr/lib/postfix/sbin
command_directory = /usr/sbin
mail_owner = postfix
setgid_group = postdrop
myhostname = gw.good.test
mydestination =
local_recipient_maps =
mynetworks = 127.0.0.0/8
smtpd_relay_restrictions = permit_mynetworks, reject
relayhost = [{host}]:{port}
inet_interfaces = 127.0.0.1
inet_protocols = ipv4
disable_dns_lookups = yes
smtputf8_enable = no
message_size_limit = 104857600
maillog_file = {folder}/log
maillog_file_prefixes = {folder}
alias_maps =
alias_database =
biff = no
"""
TLS = """\
smtpd_tls_chain_files = {folder}/pki/server.key, {folder}/pki/server.pem
smtpd_tls_security_level = may
smtp_tls_security_level = encrypt
smtp_tls_session_cache_database = btree:{folder}/data/smtp_scache
"""
TUNED = """\
in_flow_delay = 0
smtp_destination_concurrency_limit = 50
initial_destination_concurrency = 20
smtp_tls_connection_reuse = yes
smtp_connection_cache_destinations = [{host}]:{port}
"""
# Its defaults (20 sessions at once, a backlog of 20) lose connections of a hundred senders; all else is as it comes.
EXIM = """\
exim_path = {binary}
spool_directory = {folder}/spool
log_file_path = {folder}/exim/%slog
pid_file_path = {folder}/exim/pid
notifier_socket =
primary_hostname = gw.good.test
local_interfaces = 127.0.0.1
daemon_smtp_ports = {address}
smtp_accept_max = 300
smtp_accept_queue_per_connection = 0
smtp_accept_reserve = 0
smtp_connect_backlog = 500
message_size_limit = 100M
host_lookup =
rfc1413_query_timeout = 0s
keep_environment =
dns_ipv4_lookup = *
disable_ipv6 = true
deliver_drop_privilege = true
acl_smtp_rcpt = accept
acl_smtp_data = accept
tls_advertise_hosts = {tls}
tls_certificate = {folder}/pki/server.pem
tls_privatekey = {folder}/pki/server.key
begin routers
all:
  driver = manualroute
  route_list = * {host} byname
  self = send
  transport = out
begin transports
out:
  driver = smtp
  port = {port}
  allow_localhost
  {security}
  tls_try_verify_hosts = :
begin retry
* * F,1h,5m
"""


class Gateway(harness.Gateway):
    """The gateway of the tests, in a group."""

    group, before = None, []

    def start(self, wait=True):
        self.log = open(self.errors, "ab")
        self.process = subprocess.Popen([*self.before, str(harness.BINARY), "-c", str(self.file), "run"], stdin=subprocess.DEVNULL,
            stdout=self.log, stderr=self.log, env=harness.environment() | self.variables, preexec_fn=self.group.enter,
            start_new_session=True)
        if wait:
            harness.wait_for(lambda: "the gateway answers `status`\n" + self.stderr(), self.is_ready)
        return self


def settings(next_hop, tls, port=0, **more):
    """A relay for everybody; limits that a single client would meet are raised, all else is as it comes."""
    base = {
        "limits": {"rate": 1000000},
        "listeners": [{"name": "inbound", "type": "private", "address": f"127.0.0.1:{port}", "policy": "open"} |
            ({"certificate": "main"} if tls else {})],
        "mail_flow_policies": [{"name": "open", "action": "relay", "tls": "preferred" if tls else "none"}],
        "accepted_domains": [], "routes": [{"domain": "default", "next_hop": next_hop}],
        "delivery": {"retry": ["1s"]}, "log": {"to": "postern.log"}, "metrics": {"address": "127.0.0.1:0"},
    }
    return harness.settings(delivery_tls="required" if tls else "none", **(base | more))


class Peer:
    """A server that runs, or nothing of it: a break while it starts leaves no process and no group."""

    process = folder = None
    usual_with_mail, usual_without = True, True  # run in cells with mail, and in those of sessions, when nobody names the peers

    @classmethod
    def missing(cls):
        """What is not there and how to get it; empty when it can be started."""
        return ""

    def __init__(self, pki, next_hop, tls, before=()):
        """`before` is put before its command."""
        self.group, self.before = Group(self.name), list(before)
        try:
            self.begin(pki, next_hop, tls)
        except BaseException:
            self.stop()
            raise

    def launch(self, *command, **variables):
        """Its first process; `end` ends it, and its children with it."""
        self.output = open(self.folder / "output", "wb")
        self.process = subprocess.Popen([*self.before, *map(str, command)], stdin=subprocess.DEVNULL, stdout=self.output,
            stderr=self.output, preexec_fn=self.group.enter, start_new_session=True, env=harness.environment() | variables)

    def is_ready(self):
        assert self.process.poll() is None, self.log()
        with contextlib.suppress(OSError, smtplib.SMTPException), smtplib.SMTP(*self.address, timeout=10) as c:
            return c.noop()[0] == 250
        return False

    def log(self):
        return "".join(p.read_text(errors="replace")[-2000:] for p in (self.folder / "log", self.folder / "output") if p.exists())

    def end(self):
        self.process.send_signal(signal.SIGTERM)
        self.process.wait(timeout=harness.PATIENCE)
        self.output.close()

    def stop(self):
        try:
            if self.process:
                self.end()
        finally:
            self.group.remove()
            if self.folder:
                shutil.rmtree(self.folder, ignore_errors=True)


class Postern(Peer):
    name, gateway = "postern", None

    def begin(self, pki, next_hop, tls):
        self.gateway = Gateway(pki, settings(next_hop, tls))
        self.gateway.group, self.gateway.before = self.group, self.before
        self.gateway.start()
        self.address = self.gateway.address()

    def log(self):
        return (self.gateway.folder / "postern.log").read_text()[-2000:]

    def stop(self):
        try:
            if self.gateway:
                self.gateway.stop()
        finally:
            if self.gateway:
                self.gateway.discard()
            self.group.remove()


class Postfix(Peer):
    name, tuned, master = "postfix", False, "/usr/lib/postfix/sbin/master"

    @classmethod
    def missing(cls):
        return "" if os.access(cls.master, os.X_OK) else f"{cls.master} is not there: `make test-packages` installs Postfix"

    def begin(self, pki, next_hop, tls):
        self.folder = harness.make_folder()
        for name in ("etc", "spool", "data"):
            (self.folder / name).mkdir()
        os.chown(self.folder / "data", pwd.getpwnam("postfix").pw_uid, -1)
        pki.copy_to(self.folder / "pki")
        host, port = next_hop.rsplit(":", 1)
        self.address = ("127.0.0.1", int(harness.free_address().rsplit(":", 1)[1]))
        main = MAIN + (TLS if tls else "") + (TUNED if self.tuned else "")
        etc = self.folder / "etc"
        (etc / "main.cf").write_text(main.format(folder=self.folder, host=host, port=port))
        (etc / "master.cf").write_text(self.services())
        checked = harness.run("postfix", "-c", etc, "check")
        assert checked.returncode == 0, checked.stderr
        self.launch_master()
        harness.wait_for(lambda: "Postfix answers\n" + self.log(), self.is_ready)

    def launch_master(self):
        self.launch(self.master, "-c", self.folder / "etc", "-d", MAIL_CONFIG=str(self.folder / "etc"))

    def services(self):
        """Debian's, on another port, outside the chroot, and with 200 places for sessions instead of 100."""
        lines = pathlib.Path("/usr/share/postfix/master.cf.dist").read_text()
        lines = re.sub(r"^smtp\s+inet.*$", f"{self.address[0]}:{self.address[1]} inet n - n - 200 smtpd", lines, flags=re.M)
        lines = re.sub(r"^(\S+\s+(?:unix|fifo|inet|unix-dgram)\s+[yn-]\s+[yn-]\s+)y", r"\1n", lines, flags=re.M)
        return lines + "tlsproxy unix - - n - 0 tlsproxy\n"


class TunedPostfix(Postfix):
    name, tuned, usual_without = "postfix-tuned", True, False


class Exim(Peer):
    """Debian's, unpacked below build/: it cannot be installed beside Postfix."""

    name, usual_with_mail = "exim", False

    def begin(self, pki, next_hop, tls):
        user = unpacked.account("Debian-exim")
        binary = unpacked.package("exim4-daemon-heavy", "exim") / "usr/sbin/exim4"
        self.folder = harness.make_folder()
        pki.copy_to(self.folder / "pki")
        for name in ("spool", "exim"):
            (self.folder / name).mkdir()
            os.chown(self.folder / name, user.pw_uid, user.pw_gid)
        os.chown(self.folder / "pki/server.key", user.pw_uid, user.pw_gid)
        host, port = next_hop.rsplit(":", 1)
        self.address = ("127.0.0.1", int(harness.free_address().rsplit(":", 1)[1]))
        file = self.folder / "exim.conf"
        file.write_text(EXIM.format(binary=binary, folder=self.folder, address=self.address[1], host=host, port=port,
            tls="*" if tls else "", security="hosts_require_tls = *" if tls else "hosts_avoid_tls = *"))
        self.launch(binary, "-C", file, "-bdf", "-q30m")
        harness.wait_for(lambda: "Exim answers\n" + self.log(), self.is_ready)

    def log(self):
        return super().log() + "".join(p.read_text(errors="replace")[-2000:] for p in (self.folder / "exim").glob("*log"))


class Nothing:
    """The lower bound: the load's own sink."""

    name, usual_with_mail, usual_without = "nothing", True, True

    @classmethod
    def missing(cls):
        return ""

    def __init__(self, pki, next_hop, tls, before=()):
        host, port = next_hop.rsplit(":", 1)
        self.address, self.group = (host, int(port)), None

    def log(self):
        return ""

    def stop(self):
        pass


PEERS = {peer.name: peer for peer in (Postern, Postfix, TunedPostfix, Exim, Nothing)}
