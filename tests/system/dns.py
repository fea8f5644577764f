"""The DNS of a test: signed, bogus, expired and unsigned zones below `test.`, served by NSD; and a server that answers as a script says.

    with dns.Server({"good.test": dns.Zone("@ MX 10 mx1\\nmx1 A 127.0.0.1")}) as server:
        make_gateway(dns=server.settings(), ...)

Every zone is delegated by `test.`, whose key is the trust anchor in settings(). Ports are the kernel's choice, on 127.0.0.1.
"""

import contextlib
import re
import shutil
import signal
import socket
import struct
import subprocess
import threading

import harness

SIGNED, NSEC3, BOGUS, EXPIRED, INSECURE = "signed", "nsec3", "bogus", "expired", "insecure"

TYPES = {"A": 1, "NS": 2, "CNAME": 5, "SOA": 6, "PTR": 12, "MX": 15, "TXT": 16, "AAAA": 28, "SRV": 33, "DS": 43, "DNSKEY": 48, "TLSA": 52}


class Zone:
    """Records as in a zone file (names relative to the zone, TTL 300), and what is done to them: SIGNED (NSEC), NSEC3, BOGUS (the signatures
    of all but SOA, NS and keys are damaged), EXPIRED (the signatures were valid in January 2020), INSECURE (not signed, and delegated so).
    `host` is the address of its name server; only who resolves from the root on looks at it."""

    def __init__(self, records="", kind=SIGNED, host="127.0.0.1"):
        self.records, self.kind, self.host = records, kind, host

    def text(self, name):
        return (f"$ORIGIN {name}.\n$TTL 300\n@ SOA ns hostmaster 1 3600 600 86400 60\n@ NS ns\nns A {self.host}\n"
            + "\n".join(line.strip() for line in self.records.splitlines()) + "\n")


def standard(host="127.0.0.1"):
    """The zones that a delivery meets: {name: Zone}. Each has an MX, mx1, TLSA of nobody's key, an alias and an address."""
    records = """
        @ MX 10 mx1
        @ A 127.0.0.1
        mx1 A 127.0.0.1
        mx2 A 127.0.0.2
        _25._tcp.mx1 TLSA 3 1 1 """ + "ab" * 32 + """
        alias CNAME mx1
        _mta-sts TXT "v=STSv1; id=20261121000000Z;"
    """
    return {f"{kind if kind != SIGNED else 'good'}.test": Zone(records, kind, host) for kind in (SIGNED, NSEC3, BOGUS, EXPIRED, INSECURE)}


def free_port():
    """A port of 127.0.0.1 that nobody listens on, for UDP and TCP."""
    while True:
        with socket.socket(type=socket.SOCK_STREAM) as tcp, socket.socket(type=socket.SOCK_DGRAM) as udp:
            tcp.bind(("127.0.0.1", 0))
            port = tcp.getsockname()[1]
            try:
                udp.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port


class Server:
    """NSD with `zones`; use as a context manager. `outside` are zones that are not below `test.` (not signed, listed as private)."""

    def __init__(self, zones, outside=None, key_size="ECDSAP256SHA256"):
        self.folder = harness.make_folder()
        self.algorithm = key_size
        self.process = None
        self.anchor = self.folder / "ta.test"
        self.outside = dict(outside or {})
        for name, zone in {**zones, **self.outside}.items():
            self._write(name, zone)
        hosts = [zone.host for zone in zones.values()]
        self._write("test", Zone("\n".join(self._delegation(name, zone) for name, zone in zones.items()), host=hosts[0]))
        self.anchor.write_text((self.folder / "Ktest.ds").read_text())
        self.zones = ["test", *zones, *self.outside]

    def _tool(self, *command):
        done = harness.run(*command, cwd=self.folder)
        assert done.returncode == 0, (command, done.stderr)
        return done.stdout.strip()

    def _write(self, name, zone):
        plain, signed = self.folder / f"{name}.zone", self.folder / f"{name}.zone.signed"
        plain.write_text(zone.text(name))
        if zone.kind == INSECURE or name in self.outside:
            shutil.copy(plain, signed)
            return
        key = self._tool("ldns-keygen", "-a", self.algorithm, "-k", name)
        for suffix in ("key", "private", "ds"):
            (self.folder / f"{key}.{suffix}").rename(self.folder / f"K{name}.{suffix}")
        self.sign(name, zone.kind)

    def add_root(self):
        """A signed root zone above `test.`, at one of the addresses of the Internet's root servers; its key is a further anchor."""
        (self.folder / "root.zone").write_text("$ORIGIN .\n$TTL 300\n@ SOA a.root-servers.net. hostmaster 1 3600 600 86400 60\n"
            "@ NS a.root-servers.net.\na.root-servers.net. A 198.41.0.4\ntest. NS ns.test.\nns.test. A 198.51.100.53\n"
            + (self.folder / "Ktest.ds").read_text())
        key = self._tool("ldns-keygen", "-a", self.algorithm, "-k", ".")
        self._tool("ldns-signzone", "-e", "20361231000000", "-o", ".", "root.zone", key)
        (self.folder / "root.zone.signed").rename(self.folder / "..zone.signed")
        self.anchor.write_text(self.anchor.read_text() + (self.folder / f"{key}.ds").read_text())
        self.zones.append(".")

    def sign(self, name, kind=SIGNED, *more_keys):
        """Sign the zone file NAME.zone with its key (and others)."""
        dates = ["-i", "20200101000000", "-e", "20200201000000"] if kind == EXPIRED else ["-e", "20361231000000"]
        denial = ["-n", "-t", "1", "-s", "beef"] if kind == NSEC3 else []
        self._tool("ldns-signzone", *denial, *dates, f"{name}.zone", f"K{name}", *more_keys)
        if kind == BOGUS:
            self._damage(self.folder / f"{name}.zone.signed")

    @staticmethod
    def _damage(path):
        """Replace the middle of each signature; those that lead to the zone stay."""
        def damage(match):
            return match.group(0) if match.group(1) in ("SOA", "NS", "DNSKEY") else match.group(0)[:-16] + "AAAABBBBCCCCAA=="

        text, count = re.subn(r"(?m)^\S+\s+\d+\s+IN\s+RRSIG\s+(\S+)\s.*?(?=\s*(?:;.*)?$)", damage, path.read_text())
        assert count > 0
        path.write_text(text)

    def _delegation(self, name, zone):
        ds = "" if zone.kind == INSECURE else (self.folder / f"K{name}.ds").read_text()
        return f"{name}. NS ns.{name}.\nns.{name}. A {zone.host}\n{ds}"

    def settings(self, **more):
        """The section `dns` of a gateway that asks this server."""
        settings = {"forward": [f"127.0.0.1@{self.port}"], "trust_anchor_file": str(self.anchor),
            "private_zones": ["test", *self.outside], "timeout": "20s", **more}
        return {key: value for key, value in settings.items() if value is not None}

    # Life

    def start(self, port=None, address="127.0.0.1", inside=()):
        """`inside` (a command's beginning) runs NSD elsewhere, such as in a network namespace; then nobody waits for its answers."""
        self.port = port or free_port()
        config = [f"server:\n  ip-address: {address}@{self.port}\n  username: \"\"\n  chroot: \"\"\n  zonesdir: \"{self.folder}\"",
            f"  database: \"\"\n  pidfile: \"{self.folder}/nsd.pid\"\n  xfrdfile: \"{self.folder}/xfrd.state\"",
            f"  zonelistfile: \"{self.folder}/zone.list\"\n  logfile: \"{self.folder}/nsd.log\"\n  server-count: 1",
            "  rrl-ratelimit: 0\n  rrl-whitelist-ratelimit: 0\nremote-control:\n  control-enable: no"]
        config += [f"zone:\n  name: \"{name}\"\n  zonefile: \"{name}.zone.signed\"" for name in self.zones]
        (self.folder / "nsd.conf").write_text("\n".join(config) + "\n")
        self.process = subprocess.Popen([*inside, "nsd", "-d", "-c", str(self.folder / "nsd.conf")], stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL, stderr=open(self.folder / "nsd.err", "wb"), env=harness.environment())
        if inside:
            return self
        harness.wait_for(lambda: f"NSD answers on port {self.port}\n{self.log()}", self.answers)
        return self

    def log(self):
        return "".join(p.read_text(errors="replace") for p in (self.folder / "nsd.log", self.folder / "nsd.err") if p.exists())

    def answers(self):
        assert self.process.poll() is None, self.log()
        with socket.socket(type=socket.SOCK_DGRAM) as s:
            s.settimeout(0.2)
            try:
                s.connect(("127.0.0.1", self.port))
                s.send(query("test", "SOA"))
                return s.recv(4096)[3] & 15 == 0
            except OSError:
                return False

    def stop(self):
        if self.process is not None:
            self.process.send_signal(signal.SIGTERM)
            self.process.wait(timeout=harness.PATIENCE)
            self.process = None

    def __enter__(self):
        return self.start()

    def __exit__(self, *_):
        self.stop()
        shutil.rmtree(self.folder, ignore_errors=True)


# Messages, made and read by hand


def wire(name):
    """A name as it travels, not compressed."""
    labels = [label.encode() for label in name.rstrip(".").split(".")] if name.strip(".") else []
    return b"".join(bytes([len(label)]) + label for label in labels) + b"\0"


def query(name, type, number=0x4242):
    return struct.pack(">6H", number, 0x0100, 1, 0, 0, 0) + wire(name) + struct.pack(">2H", TYPES[type], 1)


def record(name, type, data, ttl=300):
    """One record; `data` are the bytes of its RDATA."""
    return wire(name) + struct.pack(">2HIH", TYPES[type], 1, ttl, len(data)) + data


def mx(preference, name):
    return struct.pack(">H", preference) + wire(name)


def a(address):
    return socket.inet_aton(address)


class Question:
    """What a resolver asked: number, name (lower case), type as a word."""

    def __init__(self, packet):
        self.packet = packet
        self.number, labels, at = struct.unpack(">H", packet[:2])[0], [], 12
        while packet[at]:
            labels.append(packet[at + 1:at + 1 + packet[at]].decode().lower())
            at += 1 + packet[at]
        kind = struct.unpack(">H", packet[at + 1:at + 3])[0]
        self.name = ".".join(labels)
        self.type = {number: word for word, number in TYPES.items()}.get(kind, str(kind))
        self.section = packet[12:at + 5]

    def answer(self, records=(), code=0, truncated=False, authority=()):
        """The packet that answers it with `records` (from record())."""
        flags = 0x8400 | 0x0180 | code | (0x0200 if truncated else 0)
        return struct.pack(">6H", self.number, flags, 1, len(records), len(authority), 0) + self.section + b"".join([*records, *authority])


class Scripted:
    """A UDP (and TCP) server that answers with script(question) -> packet, or None for silence. `asked` holds (name, type) of each question
    as it came, `over_tcp` those by TCP, each in a thread of its own."""

    def __init__(self, script):
        self.script, self.asked, self.over_tcp = script, [], []
        self.port = free_port()
        self.udp, self.tcp = socket.socket(type=socket.SOCK_DGRAM), socket.socket()
        self.udp.bind(("127.0.0.1", self.port))
        self.tcp.bind(("127.0.0.1", self.port))
        self.tcp.listen()
        for name, run in (("udp", self._run_udp), ("tcp", self._run_tcp)):
            threading.Thread(target=run, name=name, daemon=True).start()

    def count(self, name, type):
        return self.asked.count((name, type))

    def settings(self, **more):
        """The section `dns` of a gateway that asks this server; nothing is signed."""
        return {"forward": [f"127.0.0.1@{self.port}"], "private_zones": ["test"], "timeout": "20s", **more}

    def _run_udp(self):
        while True:
            try:
                packet, peer = self.udp.recvfrom(4096)
            except OSError:
                return
            if not packet:  # the socket was shut down
                return
            question = Question(packet)
            self.asked.append((question.name, question.type))
            answer = self.script(question)
            if answer is not None:
                self.udp.sendto(answer, peer)

    def _run_tcp(self):
        while True:
            try:
                connection, _ = self.tcp.accept()
            except OSError:
                return
            threading.Thread(target=self._serve_tcp, args=(connection,), name="tcp", daemon=True).start()

    def _serve_tcp(self, connection):
        with connection, contextlib.suppress(OSError, struct.error):
            size = struct.unpack(">H", connection.recv(2, socket.MSG_WAITALL))[0]
            question = Question(connection.recv(size, socket.MSG_WAITALL))
            self.over_tcp.append((question.name, question.type))
            answer = self.script(question)
            if answer is not None:
                connection.sendall(struct.pack(">H", len(answer)) + answer)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        for s in (self.udp, self.tcp):
            try:
                s.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass
            s.close()


class Watched(Scripted):
    """Stands before `server` and counts what is asked of it: all that leaves the gateway. `change(question, answer)` may make another packet of
    an answer, or None: silence."""

    def __init__(self, server, change=lambda question, answer: answer):
        self.server, self.change = server, change
        super().__init__(self._pass)

    def total(self):
        return len(self.asked) + len(self.over_tcp)

    def settings(self, **more):
        return self.server.settings(**{"forward": [f"127.0.0.1@{self.port}"], **more})

    def _pass(self, question):
        over_tcp = threading.current_thread().name == "tcp"
        with socket.socket(type=socket.SOCK_STREAM if over_tcp else socket.SOCK_DGRAM) as s:
            s.settimeout(harness.PATIENCE)
            s.connect(("127.0.0.1", self.server.port))
            if over_tcp:
                s.sendall(struct.pack(">H", len(question.packet)) + question.packet)
                size = struct.unpack(">H", s.recv(2, socket.MSG_WAITALL))[0]
                return self.change(question, s.recv(size, socket.MSG_WAITALL))
            s.send(question.packet)
            return self.change(question, s.recv(65535))
