"""The scene of the judges: signed zones, a validating resolver, receivers, and who is asked about them.

    judges.py FILE        asks all judges about all cases and writes their verdicts to FILE (JSON); POSTERN names the binary
    judges.py --page FILE prints docs/judges.md from such a file

The first starts itself again in namespaces of its own (network, mounts, processes): everything listens on port 25 of loopback, names are
resolved at 127.0.0.1:53, and whatever is left ends with it. Needs root, NSD, ldnsutils, Unbound, Postfix, and Exim (unpacked).
"""

import base64
import concurrent.futures
import hashlib
import json
import os
import pathlib
import pwd
import re
import shutil
import subprocess
import sys
import tempfile
import time

sys.path.insert(0, str(pathlib.Path(__file__).parent))
sys.dont_write_bytecode = True

import dns  # noqa: E402
import harness  # noqa: E402
import judges_live  # noqa: E402
import peer  # noqa: E402
import smtp  # noqa: E402
import unpacked  # noqa: E402
from judges_cases import CASES, FINGER_LEVELS, KINDS, LEVELS, Certificate  # noqa: E402

ZONES = (dns.SIGNED, dns.NSEC3, dns.BOGUS, dns.EXPIRED, dns.INSECURE)
MATCH = {"verify": "hostname nexthop", "secure": "nexthop"}  # the names that Postern accepts at the same levels
FINGER_AT_ONCE = 6
COMMANDS = 4  # the commands are asked about every fourth domain
TRIED = r"to=<x@(?!\S+\.roll\.test>).* status=|killed by signal"  # of the mail for the cases
VALID, ELSEWHERE = (-60, 90), "nameConstraints=critical,permitted;DNS:elsewhere.test\n"
DEADLY = "no-data"  # Debian 12's Postfix dies of a TLSA record of 3 bytes


def main(arguments):
    if arguments[0] == "--page":
        print(page(json.loads(pathlib.Path(arguments[1]).read_text())), end="")
    elif arguments[0] == "--inside":
        loopback_up()
        pathlib.Path(arguments[1]).write_text(json.dumps(ask(), indent=1) + "\n")
    else:
        with tempfile.TemporaryDirectory(prefix="postern-judges-", dir="/tmp") as folder:
            pathlib.Path(folder).chmod(0o755)
            sys.exit(subprocess.run(["unshare", "--net", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc", sys.executable, __file__,
                "--inside", *arguments], env={**os.environ, "TMPDIR": folder}).returncode)


def loopback_up():
    import fcntl
    import socket
    import struct
    with socket.socket() as s:
        fcntl.ioctl(s, 0x8914, struct.pack("16sh14x", b"lo", 1))  # SIOCSIFFLAGS, IFF_UP


# Certificates


class Keys:
    """The authorities and the servers' certificates: NAME.pem, NAME.key below `folder`. Reading them gives what TLSA records are made of."""

    # name -> signer, more of its basic constraints, more extensions, days of its life
    AUTHORITIES = {"root": ("self", "", "", VALID), "middle": ("root", "", "", VALID), "private": ("self", "", "", VALID),
        "below": ("private", "", "", VALID), "late": ("private", "", "", (-60, -2)), "other": ("self", "", "", VALID),
        "ended": ("self", "", "", (-60, -2)), "shallow": ("private", ",pathlen:0", "", VALID), "deep": ("shallow", "", "", VALID),
        "fake": ("private", None, "", VALID), "bound": ("private", "", ELSEWHERE, VALID), "bound-root": ("root", "", ELSEWHERE, VALID)}
    KINDS = {"ec": ("ec", "ec_paramgen_curve:P-256"), "rsa-1024": ("rsa:1024",), "rsa-4096": ("rsa:4096",), "ed25519": ("ed25519",)}

    def __init__(self, folder):
        self.folder = folder
        folder.mkdir()
        for name, (signer, constraints, more, days) in self.AUTHORITIES.items():
            rights = f"CA:true{constraints}\nkeyUsage=critical,keyCertSign,cRLSign\n"
            if constraints is None:
                rights = "CA:false\nkeyUsage=digitalSignature\n"
            self._make(name, f"/O=Test/CN={name}", f"basicConstraints=critical,{rights}{more}", signer, days)

    def _openssl(self, *arguments):
        done = harness.run("openssl", *arguments, cwd=self.folder)
        assert done.returncode == 0, done.stderr

    def _make(self, name, subject, extensions, signer, days, kind="ec", digest="sha256"):
        algorithm, *options = self.KINDS[kind]
        self._openssl("req", "-newkey", algorithm, *(word for option in options for word in ("-pkeyopt", option)), "-nodes", "-keyout", f"{name}.key",
            "-out", f"{name}.csr", "-subj", subject)
        (self.folder / f"{name}.ext").write_text(extensions)
        dates = [time.strftime("%Y%m%d%H%M%SZ", time.gmtime(time.time() + day * 86400)) for day in days]
        (self.folder / f"{name}.cnf").write_text(f"[ca]\ndefault_ca=a\n[a]\ndatabase={name}.index\nnew_certs_dir=.\nrand_serial=yes\n"
            f"default_md={digest}\npolicy=p\nunique_subject=no\n[p]\ncommonName=optional\norganizationName=optional\n")
        (self.folder / f"{name}.index").write_text("")
        by = ["-selfsign", "-keyfile", f"{name}.key"] if signer == "self" else ["-cert", f"{signer}.pem", "-keyfile", f"{signer}.key"]
        self._openssl("ca", "-batch", "-notext", "-config", f"{name}.cnf", "-in", f"{name}.csr", "-out", f"{name}.pem", "-startdate", dates[0],
            "-enddate", dates[1], "-extfile", f"{name}.ext", *by)

    def server(self, name, certificate, words):
        """One file with key and chain as a receiver sends it."""
        names = ",".join(f"DNS:{n.format(**words)}" for n in certificate.names)
        self._make(name, f"/O=Test/CN={certificate.cn.format(**words)}", "basicConstraints=critical,CA:false\n"
            + f"extendedKeyUsage={certificate.usage}\n" + (f"subjectAltName={names}\n" if names else ""), certificate.signer, certificate.days,
            certificate.key, certificate.digest)
        files = [f"{name}.key", f"{name}.pem", *(f"{other}.pem" for other in certificate.send)]
        (self.folder / f"{name}.all").write_text("".join((self.folder / f).read_text() for f in files))

    def data(self, name, selector, matching):
        """What a TLSA record of NAME.pem holds, in hexadecimal; unknown selectors are taken for 0, unknown digests for SHA-256."""
        if name.startswith("made"):
            return hashlib.sha256(name.encode()).hexdigest()
        der = base64.b64decode("".join((self.folder / f"{name}.pem").read_text().split("-----")[2].split()))
        if selector == 1:
            done = subprocess.run(["openssl", "x509", "-in", f"{name}.pem", "-noout", "-pubkey"], cwd=self.folder, capture_output=True, check=True)
            der = base64.b64decode("".join(done.stdout.decode().split("-----")[2].split()))
        return der.hex() if matching == 0 else (hashlib.sha512 if matching == 2 else hashlib.sha256)(der).hexdigest()

    def tlsa(self, text, leaf):
        """A case's "3 1 1 leaf" as RDATA."""
        if text.startswith("#"):
            return rf"\# {len(text[2:]) // 2} {text[2:]}"
        usage, selector, matching, of = text.split()
        of, cut = re.fullmatch(r"([a-z]+\d*)([+-]1)?", of).groups()
        data = self.data(leaf if of == "leaf" else of, int(selector), int(matching))
        data = data[:-2] if cut == "-1" else data + "00" if cut == "+1" else data
        return rf"\# {3 + len(data) // 2} {int(usage):02x}{int(selector):02x}{int(matching):02x}{data}"


# Receivers and zones


class Scene:
    """Everything that stands around the judges. `domains`: case -> mail domain."""

    def __init__(self):
        self.folder = harness.make_folder()
        self.exim_user = unpacked.account("Debian-exim")
        self.keys = Keys(self.folder / "keys")
        self.pki = harness.Pki(self.folder / "pki")
        self.zones = {zone: [] for zone in ZONES}
        self.listeners = []  # (address, how, name of the certificate, name that the client must ask for, more options)
        with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
            list(pool.map(self._prepare, range(len(CASES)), CASES))
        self._write_zones()
        self._start_names()
        self._start_postfix()
        self._start_exim()
        self.peers = [self._start_peer(*one) for one in self.listeners if one[1] not in ("postfix", "exim")]

    def _prepare(self, number, case):
        """Certificates, TLSA data and records of one case."""
        words = {"d": case.domain}
        for at, host in enumerate(case.hosts):
            words[f"a{at or ''}"] = f"127.1.{number}.{at + 1}"
            words[f"mx{at or ''}"] = f"{host.name}.{case.domain}" if host.name else case.domain
        data = {}
        for at, host in enumerate(case.hosts):
            name = f"{case.name}-{at}"
            mx = self._name_of(case, at, words)
            self.keys.server(name, host.certificate, {**words, "mx": mx, "MX": mx.upper(), "D": case.domain.upper()})
            data[f"tlsa{at or ''}"] = [self.keys.tlsa(text, name) for text in host.tlsa]
            self.listeners.append((words[f"a{at or ''}"], host.by, name, mx if host.sni else None, host.options))
        text = case.records if case.records is not None else "".join(
            f"{{d}}. MX {10 * at + 10} {{mx{at or ''}}}.\n{{mx{at or ''}}}. A {{a{at or ''}}}\n"
            + (f"_25._tcp.{{mx{at or ''}}}. TLSA {{tlsa{at or ''}}}\n" if host.tlsa else "") for at, host in enumerate(case.hosts))
        for zone, records in {case.zone: text, **case.more}.items():
            self.zones[dns.SIGNED if zone == "good" else zone] += self._lines(records, words, data)

    @staticmethod
    def _name_of(case, at, words):
        """The name of the host as the MX record says it, which may lie in another zone."""
        found = re.search(r"MX 10 (?!\{)(\S+)\.", case.records or "")
        return found.group(1) if found and at == 0 else words[f"mx{at or ''}"]

    @staticmethod
    def _lines(records, words, data):
        for line in records.splitlines():
            several = re.search(r"\{(tlsa\d*)\}", line)
            for one in data[several.group(1)] if several else [""]:
                yield line.format(**words, **({several.group(1): one} if several else {}))

    def _write_zones(self):
        self.names = dns.Server({f"{'good' if zone == dns.SIGNED else zone}.test": dns.Zone("\n".join(lines), zone)
            for zone, lines in self.zones.items()})
        good = self.names.folder / "good.test.zone.signed"  # ldns writes a TLSA without data as NSD does not read it
        good.write_text(re.sub(r"(?m)\tTLSA\t3 1 1\s*$", r"\tTLSA\t\\# 3 030101", good.read_text()))

    def _start_names(self):
        """NSD with the zones, and Unbound in front of it, which everybody asks who reads /etc/resolv.conf."""
        self.names.start(port=5300)
        self.live_zone = judges_live.start_zone()
        (self.folder / "unbound.conf").write_text(f"""server:
  directory: "{self.folder}"
  chroot: ""
  username: ""
  pidfile: "{self.folder}/unbound.pid"
  use-syslog: no
  logfile: "{self.folder}/unbound.log"
  interface: 127.0.0.1@53
  do-ip6: no
  do-daemonize: no
  do-not-query-localhost: no
  module-config: "validator iterator"
  trust-anchor-file: "{self.names.anchor}"
  trust-anchor-file: "{self.live_zone.anchor}"
  trust-anchor-signaling: no
  local-zone: "test." nodefault
  val-log-level: 2
remote-control:
  control-enable: no
stub-zone:
  name: "test."
  stub-addr: 127.0.0.1@5300
stub-zone:
  name: "{self.live_zone.name}."
  stub-addr: 127.0.0.1@{self.live_zone.port}
""")
        (self.folder / "resolv.conf").write_text("nameserver 127.0.0.1\noptions edns0 trust-ad timeout:5 attempts:2\n")
        done = harness.run("mount", "--bind", self.folder / "resolv.conf", "/etc/resolv.conf")
        assert done.returncode == 0, done.stderr
        self._spawn("unbound", "unbound", "-c", self.folder / "unbound.conf")
        harness.wait_for(lambda: "Unbound answers\n" + self.log("unbound"), lambda: "ad" in re.search(r"flags:([^;]*)",
            harness.run("drill", "-D", "@127.0.0.1", "good.test", "SOA").stdout + "flags:;").group(1).split())

    def _spawn(self, name, *command, **variables):
        """A server that lives as long as the namespace; what it says goes to the log NAME."""
        with open(self.folder / f"{name}.out", "wb") as out:
            return subprocess.Popen([str(c) for c in command], stdin=subprocess.DEVNULL, stdout=out, stderr=out,
                env={**harness.environment(), **variables})

    def log(self, name):
        return "".join(p.read_text(errors="replace") for p in sorted(self.folder.glob(f"{name}.*")) + sorted((self.folder / name).glob("*log")))

    def postfix(self, name, main, services):
        """An instance of its own; `services` are lines of master.cf instead of the listener's."""
        base = self.folder / name
        for part in ("etc", "spool", "data"):
            (base / part).mkdir(parents=True)
        os.chown(base / "data", pwd.getpwnam("postfix").pw_uid, -1)
        (base / "etc/main.cf").write_text(POSTFIX.format(b=base, name=name) + main)
        lines = pathlib.Path("/usr/share/postfix/master.cf.dist").read_text()
        lines = re.sub(r"(?m)^smtp\s+inet.*$", "", lines)
        lines = re.sub(r"(?m)^(\S+\s+(?:unix|fifo|inet)\s+[yn-]\s+[yn-]\s+)y", r"\1n", lines)  # no chroot
        (base / "etc/master.cf").write_text(lines + "".join(f"{s}\n" for s in services))
        checked = harness.run("postfix", "-c", base / "etc", "check")
        assert checked.returncode == 0, checked.stderr
        self._spawn(name, "/usr/lib/postfix/sbin/master", "-c", base / "etc", "-d", MAIL_CONFIG=str(base / "etc"))
        return base

    def _start_postfix(self):
        ours = [one for one in self.listeners if one[1] == "postfix"]
        self.postfix("receiver", "default_transport = discard:\nsmtpd_tls_security_level = may\n",
            [f"{address}:25 inet n - n - 2 smtpd" + "".join(f"\n  -o {option}" for option in (
                f"smtpd_tls_chain_files={self.keys.folder}/{name}.all", *options)) for address, _, name, _, options in ours])
        self._wait_greeting(ours[-1][0], "receiver")

    def _start_exim(self):
        """One Exim; a file for each address holds the certificate."""
        self.exim = unpacked.package("exim4-daemon-heavy", "exim") / "usr/sbin/exim4"
        ours = [one for one in self.listeners if one[1] == "exim"]
        base, chains = self.folder / "exim", self.folder / "exim-keys"
        for folder in (base, base / "spool", chains):
            folder.mkdir()
            os.chown(folder, self.exim_user.pw_uid, self.exim_user.pw_gid)
        for address, _, name, sni, _ in ours:
            shutil.copy(self.keys.folder / f"{name}.all", chains / address)
        names = [(address, sni) for address, _, _, sni, _ in ours if sni]
        choice = f"{chains}/$received_ip_address"
        for address, sni in names:
            self.keys.server("wrong", Certificate(names=("wrong.test",)), {"mx": "wrong.test"})
            shutil.copy(self.keys.folder / "wrong.all", chains / "wrong")
            choice = f"${{if and{{{{eq{{$received_ip_address}}{{{address}}}}}{{!eq{{$tls_sni}}{{{sni}}}}}}}{{{chains}/wrong}}{{{choice}}}}}"
        for path in chains.iterdir():
            os.chown(path, self.exim_user.pw_uid, -1)
        (base / "exim.conf").write_text(EXIM.format(exim=self.exim, run=base, choice=choice, addresses=" ; ".join(one[0] for one in ours)))
        self._spawn("exim", self.exim, "-C", base / "exim.conf", "-bdf")
        self._wait_greeting(ours[-1][0], "exim")

    def _start_peer(self, address, how, name, *_):
        files = {"server": self.keys.folder / f"{name}.all", "key": None}
        return peer.Peer(type("Pki", (), files), address=(address, 25), starttls="good" if how == "helo" else how, esmtp=how != "helo")

    def _wait_greeting(self, address, name):
        def greets():
            try:
                with smtp.Client((address, 25)) as client:
                    return client.greeting.code == 220
            except OSError:
                return False
        harness.wait_for(lambda: f"{name} answers\n" + self.log(name), greets)

    # The judges

    def ask_finger(self):
        """posttls-finger at each level: {case: {level: verdict}}."""
        def one(job):
            case, level = job
            return case.name, level, self.finger(case.domain, level)

        verdicts = {}
        jobs = [(case, level) for case in CASES for level in FINGER_LEVELS]
        with concurrent.futures.ThreadPoolExecutor(FINGER_AT_ONCE) as pool:
            for name, level, verdict in pool.map(one, jobs):
                verdicts.setdefault(name, {})[level] = verdict
        return verdicts

    def finger(self, domain, level):
        done = harness.run("posttls-finger", "-c", "-l", level, "-F", self.keys.folder / "root.pem", "-o", "inet_protocols=ipv4", domain,
            *MATCH.get(level, "").split(), timeout=60)
        return {"verdict": finger_verdict(level, done), "why": (done.stdout + done.stderr)[-600:]}

    def ask_postfix(self):
        """A Postfix that sends: one mail for each level."""
        self._submit([case for case in CASES if case.name != DEADLY])
        self._wait_sent(len(LEVELS) * (len(CASES) - 1))

    def ask_deadly(self):
        """The last, since what it does to Postfix may hold up other mail. All that Postfix logged."""
        self._submit([case for case in CASES if case.name == DEADLY])
        return self._wait_sent(len(LEVELS) * len(CASES))

    def _wait_sent(self, count):
        """Until Postfix has tried, or died of, `count` recipients."""
        log = self.folder / "sender/log"
        harness.wait_for(lambda: f"Postfix is through with {count} recipients\n" + log.read_text()[-3000:],
            lambda: len(re.findall(TRIED, log.read_text())) >= count, patience=120)
        return log.read_text()

    @staticmethod
    def _submit(cases):
        for level in LEVELS:
            smtp.submit(("127.0.0.1", 2526), f"{level}@judge.test", [f"x@{case.domain}" for case in cases], harness.message(), tls=False)

    def start_sender(self):
        levels = [f"{level} unix - - n - 12 smtp\n  -o syslog_name=judge/{level}\n  -o smtp_tls_security_level={level}" for level in LEVELS]
        base = self.postfix("sender", f"""smtp_tls_CAfile = {self.keys.folder}/root.pem
smtp_tls_loglevel = 1
smtp_dns_support_level = dnssec
smtp_host_lookup = dns
smtp_tls_verify_cert_match = {MATCH["verify"]}
smtp_tls_secure_cert_match = {MATCH["secure"]}
smtp_connection_cache_on_demand = no
sender_dependent_default_transport_maps = inline:{{{", ".join(f"{level}@judge.test={level}:" for level in LEVELS)}}}
smtpd_recipient_limit = 10000
minimal_backoff_time = 1h
queue_run_delay = 1h
notify_classes =
bounce_notice_recipient = nobody
""", ["127.0.0.1:2526 inet n - n - - smtpd", *levels])
        harness.wait_for(lambda: "the sending Postfix answers\n" + self.log("sender"), lambda: self._answers(2526))
        os.environ["MAIL_CONFIG"] = str(base / "etc")

    @staticmethod
    def _answers(port):
        try:
            smtp.Client(("127.0.0.1", port)).close()
            return True
        except OSError:
            return False


    def ask_postern(self):
        """A gateway for each level, all at once: {case: {level: verdict}}."""
        gateways = {level: self.gateway(entry) for level, entry in LEVELS.items()}
        for gateway in gateways.values():
            gateway.start(wait=False)
        verdicts = {}
        for level, gateway in gateways.items():
            harness.wait_for(lambda: f"the gateway of {level} is ready\n" + gateway.stderr(), gateway.is_ready)
            smtp.submit(gateway.address(), f"{level}@judge.test", [f"x@{case.domain}" for case in CASES], harness.message())
        self.commands = self._ask_commands(gateways["dane-only"])
        for level, gateway in gateways.items():
            for domain, verdict in postern_verdicts(self._wait_attempts(gateway, level)).items():
                verdicts.setdefault(domain, {})[level] = verdict
        for gateway in gateways.values():
            gateway.stop()
        return {case.name: verdicts[case.domain] for case in CASES}

    @staticmethod
    def _ask_commands(gateway):
        """`dane verify` about every fourth domain: {case: {"code", "last"}}."""
        def one(case):
            done = gateway.command("dane", "verify", case.domain)
            return case.name, {"code": done.returncode, "last": done.stdout.splitlines()[-1:], "why": done.stdout + done.stderr}
        with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
            return dict(pool.map(one, CASES[::COMMANDS]))

    def gateway(self, entry, **names):
        return harness.Gateway(self.pki, harness.settings(dns=self.names.settings(**names), routes=None, accepted_domains=None,
            authorities={"system": False, "custom": str(self.keys.folder / "root.pem")}, destinations=[{"domain": "default", **entry}],
            listeners=[{"name": "inbound", "type": "private", "address": "127.0.0.1:0", "certificate": "main", "policy": "out"}],
            mail_flow_policies=[{"name": "out", "action": "relay", "tls": "preferred"}], delivery={"retry": ["1h"], "port": 25}))

    @staticmethod
    def _wait_attempts(gateway, level):
        """The recipients of the mail as tracking has them, when each was tried."""
        seen = []

        def all_tried():
            seen[:] = [r for record in gateway.track(sender=f"{level}@judge.test") for r in record["recipients"]]
            return len(seen) == len(CASES) and all(r["attempts"] for r in seen)
        harness.wait_for(lambda: f"{len(CASES)} recipients are tried: {[r['address'] for r in seen if not r['attempts']]}\n"
            + gateway.stderr()[-3000:], all_tried, patience=120)
        return seen


POSTFIX = """\
compatibility_level = 3.6
queue_directory = {b}/spool
data_directory = {b}/data
daemon_directory = /usr/lib/postfix/sbin
command_directory = /usr/sbin
mail_owner = postfix
setgid_group = postdrop
myhostname = {name}.judge.test
mydestination =
inet_interfaces = 127.0.0.1
inet_protocols = ipv4
mynetworks = 127.0.0.0/8
maillog_file = {b}/log
maillog_file_prefixes = /tmp, /var
alias_maps =
alias_database =
local_recipient_maps =
biff = no
dnssec_probe =
"""

EXIM = """\
exim_path = {exim}
spool_directory = {run}/spool
log_file_path = {run}/%s.log
pid_file_path = {run}/exim.pid
notifier_socket =
primary_hostname = exim.judge.test
local_interfaces = <; {addresses}
daemon_smtp_ports = 25
keep_environment =
host_lookup =
rfc1413_query_timeout = 0s
tls_advertise_hosts = *
tls_certificate = {choice}
acl_smtp_mail = accept
acl_smtp_rcpt = discard
acl_smtp_data = discard
log_selector = +tls_cipher +tls_sni
smtp_accept_max = 200
smtp_accept_max_per_host = 200
begin routers
begin transports
"""


# Verdicts


def finger_verdict(level, done):
    """It does not deliver, so it says only whether the server could be verified. Without usable TLSA it takes `secure` instead of `dane`."""
    if done.returncode < 0:
        return "dies"
    text = done.stdout + done.stderr
    verified = " Verified TLS connection established " in text and (not level.startswith("dane") or " Matched DANE " in text)
    return "verified" if verified else "not verified"


def postfix_verdicts(log):
    """{domain: {level: verdict}} of what a sending Postfix logged."""
    tls, verdicts = {}, {}
    for line in log.splitlines():
        found = re.search(r"judge/(\S+)/smtp\[\d+\]: (\w+) TLS connection established to ([^\[]+)\[", line)
        if found:
            tls[found.group(1), found.group(3)] = found.group(2)
        found = re.search(r"judge/(\S+)/smtp\[\d+\]: \w+: to=<x@([^>]+)>, relay=([^,\[]+).*? status=(\w+) \((.*)\)", line)
        if found:
            level, domain, relay, status, reason = found.groups()
            word = {"deferred": "deferred", "bounced": "bounced"}.get(status) or {"Verified": "verified", None: "clear"}.get(
                tls.get((level, relay)), "encrypted")
            verdicts.setdefault(domain, {})[level] = {"verdict": word, "why": reason if status != "sent" else tls.get((level, relay), "")}
    return verdicts


def by_case(verdicts):
    """Postfix's verdicts: {case: {level: verdict}}."""
    dead = {level: {"verdict": "dies", "why": ""} for level in LEVELS}
    return {case.name: {**(dead if case.name == DEADLY else {}), **verdicts.get(case.domain, {})} for case in CASES}


def postern_verdicts(recipients):
    """{domain: verdict} of one level's mail, of what tracking says."""
    verdicts = {}
    for recipient in recipients:
        attempt = recipient["attempts"][-1]
        obtained = (attempt.get("tls") or {}).get("obtained")
        word = {"none": "clear", "verified": "verified"}.get(obtained, "encrypted") if recipient["state"] == "delivered" else recipient["state"]
        verdicts[recipient["address"].split("@")[1]] = {"verdict": word, "why": attempt}
    return verdicts


def ask():
    scene = Scene()
    versions = {"Postfix and posttls-finger": harness.run("postconf", "-dh", "mail_version").stdout.strip(),
        "Exim": re.search(r"version (\S+)", harness.run(scene.exim, "-bV").stdout).group(1),
        "NSD": re.search(r"version (\S+)", harness.run("nsd", "-v").stderr).group(1),
        "Unbound": re.search(r"Version (\S+)", harness.run("unbound", "-V").stdout).group(1)}
    scene.start_sender()
    live = judges_live.Live(scene, {"postern": postern_verdicts, "postfix": postfix_verdicts})
    with concurrent.futures.ThreadPoolExecutor() as pool:
        postern, postfix, lived = pool.submit(scene.ask_postern), pool.submit(scene.ask_postfix), pool.submit(live.ask)
        postfix.result()
        result = {"versions": versions, "finger": scene.ask_finger(), "postern": postern.result(), "commands": scene.commands, "live": lived.result()}
    return {**result, "postfix": by_case(postfix_verdicts(scene.ask_deadly()))}


# The page


def cell(results, case, level):
    """Postern's verdict, and those of the judges that differ."""
    said = {judge: results[judge][case.name].get(level, {}).get("verdict") for judge in ("postern", "postfix", "finger")}
    ours = said["postern"]
    others = [f"{name}: {said[judge]}" for judge, name in (("postfix", "Postfix"), ("finger", "finger"))
        if said[judge] not in (None, ours, *(["not verified"] if ours != "verified" else []))]
    return ours + (f" ({', '.join(others)})" if others else "")


def page(results):
    lines = PAGE.format(versions=", ".join(f"{name} {version}" for name, version in results["versions"].items()), cases=len(CASES),
        verdicts=len(CASES) * len(LEVELS)).splitlines()
    lines += [f"| `{level}` | `{json.dumps(entry)[1:-1].replace(chr(34), '')}` |" for level, entry in LEVELS.items()]
    lines += ["", "## Where they differ", "", *(f"* {words}" for words in KINDS.values())]
    lines += ["", "## The cases", "", "| case | what is special | " + " | ".join(LEVELS) + " |", "|---" * (2 + len(LEVELS)) + "|"]
    lines += [f"| {case.domain} | {case.about} | " + " | ".join(cell(results, case, level) for level in LEVELS) + " |" for case in CASES]
    return "\n".join([*lines, *judges_live.page(results["live"])]) + "\n"


PAGE = """\
# Judges

What Postern makes of {cases} mail domains at six levels, beside what a Postfix that sends and posttls-finger make of them: {verdicts} verdicts.
`tests/system/test_judges.py` asks all of them; this page is made from one run by

    tests/system/judges.py verdicts.json && tests/system/judges.py --page verdicts.json > docs/judges.md

Asked were {versions}.

`verified`: delivered, and the server's certificate was what the level demands. `encrypted`: delivered in TLS, whoever answers. `clear`: delivered
without TLS. `deferred`: not delivered, tried again later. A cell holds Postern's verdict, and those of others where they differ.
posttls-finger is asked about the last four levels, and says only whether a server could be verified: what it could not verify agrees with everything but `verified`. At `verify` all of
them accept the host's name and the mail domain, at `secure` the mail domain alone. One authority is trusted; where nothing else is said, the server's
certificate is signed by another one.

| level of Postfix | entry of `destinations` |
|---|---|
"""


if __name__ == "__main__":
    main(sys.argv[1:])
