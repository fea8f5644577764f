"""The pieces a system test is made of: certificates, a configuration, a gateway, a sink, and waiting for events.

Nothing here sleeps blindly: wait_for() polls an event until a deadline. Ports are chosen by the kernel, every test has a
directory of its own, and each process is ended by its pid.
"""

import contextlib
import hashlib
import json
import os
import pathlib
import pwd
import re
import shutil
import signal
import socket
import subprocess
import tempfile
import threading
import time

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
BINARY = pathlib.Path(os.environ.get("POSTERN", ROOT / "build/asan/postern")).resolve()
USER = "postern"
HOSTNAME = "gw.good.test"

SINK_NAME = "sink.localhost"

# How long an event may take. Sanitized builds on a busy machine are slow; a fast one does not wait.
PATIENCE = 30

SANITIZER_VARIABLES = ("ASAN_OPTIONS", "UBSAN_OPTIONS", "LSAN_OPTIONS", "TSAN_OPTIONS", "LD_PRELOAD")
SANITIZER_REPORT = re.compile(
    r"(ERROR|WARNING): (Address|Leak|Thread|Memory)Sanitizer|runtime error:|SUMMARY: \w+Sanitizer|Sanitizer:DEADLYSIGNAL")


class Late(AssertionError):
    """Something did not happen in time."""


def wait_for(what, check, patience=PATIENCE):
    """Ask check() until it is true; its value. `what` (text or function) completes the sentence "... did not happen"."""
    deadline = time.monotonic() + patience
    pause = 0.005
    while True:
        value = check()
        if value:
            return value
        if time.monotonic() > deadline:
            raise Late(f"{what() if callable(what) else what}: not within {patience} s")
        time.sleep(pause)
        pause = min(pause * 1.5, 0.1)


def environment():
    """What programs under test are started with: sanitizers that speak up, and Debian's tools first."""
    env = dict(os.environ)
    env["PATH"] = "/usr/sbin:/usr/bin:/sbin:/bin:" + env.get("PATH", "")
    env.setdefault("ASAN_OPTIONS", "detect_leaks=1:strict_string_checks=1:exitcode=99")
    env.setdefault("UBSAN_OPTIONS", "print_stacktrace=1:halt_on_error=1:exitcode=99")
    env.setdefault("TSAN_OPTIONS", "halt_on_error=1:exitcode=99")
    env["LC_ALL"] = "C.UTF-8"
    return env


def run(*command, timeout=PATIENCE, **options):
    """Run a command to its end; the finished process with its output as text."""
    return subprocess.run([str(c) for c in command], stdin=subprocess.DEVNULL, capture_output=True, text=True,
        timeout=timeout, env=environment(), **options)


def postern(*arguments, timeout=PATIENCE):
    """Run one command of the binary under test; asserts that no sanitizer spoke."""
    done = run(BINARY, *arguments, timeout=timeout)
    assert not SANITIZER_REPORT.search(done.stderr), done.stderr
    return done


def make_folder():
    """A directory that the role user may enter (pytest's own is closed to others)."""
    folder = pathlib.Path(tempfile.mkdtemp(prefix="postern-test-"))
    folder.chmod(0o755)
    return folder


def make_user():
    """The account that the roles run as, when we are root."""
    if os.geteuid() != 0:
        return
    try:
        pwd.getpwnam(USER)
    except KeyError:
        subprocess.run(["/usr/sbin/useradd", "--system", "--no-create-home", "--shell", "/usr/sbin/nologin", USER],
            check=True)


# Certificates


class Pki:
    """A small authority, a server certificate for HOSTNAME, and a second key that fits nothing."""

    def __init__(self, folder):
        self.folder = pathlib.Path(folder)
        self.folder.mkdir(parents=True, exist_ok=True)
        self.ca = self.folder / "ca.pem"
        self.server = self.folder / "server.pem"
        self.key = self.folder / "server.key"
        self.other_key = self.folder / "other.key"
        self._make()

    def _openssl(self, *arguments):
        done = subprocess.run(["openssl", *map(str, arguments)], cwd=self.folder, stdin=subprocess.DEVNULL,
            capture_output=True, text=True, env=environment())
        assert done.returncode == 0, done.stderr

    def _make(self):
        new_key = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"]
        self._openssl("req", "-x509", *new_key, "-keyout", "ca.key", "-out", self.ca, "-days", 90, "-subj",
            "/O=Test/CN=Test CA", "-addext", "keyUsage=critical,keyCertSign,cRLSign")
        self._openssl("req", *new_key, "-keyout", self.key, "-out", "server.csr", "-subj", f"/O=Test/CN={HOSTNAME}")
        (self.folder / "server.ext").write_text(
            f"subjectAltName=DNS:{HOSTNAME},DNS:localhost,IP:127.0.0.1\n"
            "basicConstraints=critical,CA:false\nextendedKeyUsage=serverAuth,clientAuth\n")
        self._openssl("x509", "-req", "-in", "server.csr", "-CA", self.ca, "-CAkey", "ca.key", "-CAcreateserial",
            "-days", 90, "-extfile", "server.ext", "-out", self.server)
        self._openssl("ecparam", "-genkey", "-name", "prime256v1", "-noout", "-out", self.other_key)
        for path in self.folder.iterdir():
            path.chmod(0o600 if path.suffix == ".key" else 0o644)

    def fingerprint(self):
        """SHA-256 of the server certificate, lower-case hexadecimal."""
        import ssl
        return hashlib.sha256(ssl.PEM_cert_to_DER_cert(self.server.read_text())).hexdigest()

    def copy_to(self, folder):
        shutil.copytree(self.folder, folder, dirs_exist_ok=True)


def sign_dated(folder, request, out, begins, ends, key, issuer=None):
    """Sign a request (files of `folder`) with `key`, as `issuer` (a certificate; None: self-signed), valid between two days counted from today."""
    folder = pathlib.Path(folder)
    (folder / "dated.index").write_text("")
    (folder / "dated.cnf").write_text("[ca]\ndefault_ca=a\n[a]\ndatabase=dated.index\nnew_certs_dir=.\nrand_serial=yes\ndefault_md=sha256\n"
        "policy=p\ncopy_extensions=copyall\nunique_subject=no\n[p]\ncommonName=supplied\n")
    dates = [time.strftime("%Y%m%d%H%M%SZ", time.gmtime(time.time() + days * 86400)) for days in (begins, ends)]
    done = run("openssl", "ca", "-batch", "-notext", "-config", "dated.cnf", "-in", request, "-out", out, "-startdate", dates[0], "-enddate", dates[1],
        "-keyfile", key, *(["-cert", issuer] if issuer else ["-selfsign"]), cwd=folder)
    assert done.returncode == 0, done.stderr
    return folder / out


# Configuration


def to_yaml(value, indent=0):
    """Block YAML of dictionaries, lists and scalars (as JSON where a plain word would not do)."""
    pad = " " * indent
    if isinstance(value, dict):
        lines = []
        for key, inner in value.items():
            if isinstance(inner, (dict, list)) and inner:
                lines += [f"{pad}{key}:", to_yaml(inner, indent + 2)]
            else:
                lines.append(f"{pad}{key}: {scalar(inner)}")
        return "\n".join(lines)
    lines = []
    for inner in value:
        if isinstance(inner, dict):
            body = to_yaml(inner, indent + 2)
            lines.append(f"{pad}- {body[indent + 2:]}")
        else:
            lines.append(f"{pad}- {scalar(inner)}")
    return "\n".join(lines)


def scalar(value):
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str) and re.fullmatch(r"\.?[A-Za-z/][\w./-]*", value):
        return value
    return json.dumps(value) if not isinstance(value, (int, float)) else str(value)


def settings(next_hop="127.0.0.1:9", listener_tls="preferred", delivery_tls="preferred", **more):
    """The smallest useful configuration (examples/relay.yaml) with ports of the kernel's choice, as a dictionary."""
    base = {
        "hostname": HOSTNAME,
        "state_dir": "state",
        "runtime_dir": "run",
        "user": USER,
        "certificates": [{"name": "main", "chain": "pki/server.pem", "key": "pki/server.key"}],
        "authorities": {"system": False, "custom": "pki/ca.pem"},
        "listeners": [{"name": "inbound", "type": "public", "address": "127.0.0.1:0", "certificate": "main",
            "policy": "accepted"}],
        "mail_flow_policies": [{"name": "accepted", "tls": listener_tls}],
        "accepted_domains": ["good.test"],
        "routes": [{"domain": "good.test", "next_hop": str(next_hop)}],
        "destinations": [{"domain": "default", "tls": delivery_tls}],
        "delivery": {"retry": ["1s"]},
    }
    base.update(more)
    return {key: value for key, value in base.items() if value is not None}


# The gateway


class Gateway:
    """One gateway in a directory of its own. Use as a context manager, or start() and stop()."""

    def __init__(self, pki, configuration=None, folder=None):
        self.folder = pathlib.Path(folder) if folder else make_folder()
        self.file = self.folder / "postern.yaml"
        self.process = None
        self.variables = {}  # more of them for the environment of `run`
        self.errors = self.folder / "stderr"
        pki.copy_to(self.folder / "pki")
        if configuration is not None:
            self.configure(configuration)

    # Configuration and commands

    def configure(self, configuration):
        text = configuration if isinstance(configuration, str) else to_yaml(configuration) + "\n"
        self.file.write_text(text)

    def command(self, *arguments, timeout=PATIENCE):
        return postern("-c", self.file, *arguments, timeout=timeout)

    def json(self, *arguments):
        """The one JSON object that a command prints."""
        done = self.command(*arguments, "--json")
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    # Life

    def start(self, wait=True):
        assert self.process is None
        self.log = open(self.errors, "ab")
        self.process = subprocess.Popen([str(BINARY), "-c", str(self.file), "run"], stdin=subprocess.DEVNULL,
            stdout=self.log, stderr=self.log, env=environment() | self.variables)
        if wait:
            wait_for(lambda: "the gateway answers `status`\n" + self.stderr(), self.is_ready)
        return self

    def is_ready(self):
        assert self.process.poll() is None, f"the gateway ended with {self.process.returncode}\n{self.stderr()}"
        return self.command("status", "--json").returncode == 0

    def stop(self, number=signal.SIGTERM):
        """End it and assert that it went well."""
        if self.process is None:
            return
        process, self.process = self.process, None
        if process.poll() is None:
            process.send_signal(number)
        try:
            code = process.wait(timeout=45)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
            raise Late("the gateway did not end within 45 s after the signal\n" + self.stderr())
        finally:
            self.log.close()
        self.assert_clean()
        assert code == 0, f"the gateway ended with {code}\n{self.stderr()}"

    def wait_end(self):
        """Wait until it ended by itself; its exit code."""
        process, self.process = self.process, None
        try:
            return process.wait(timeout=45)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
            raise Late("the gateway did not end within 45 s\n" + self.stderr())
        finally:
            self.log.close()

    def kill_all(self):
        """Power off: kill -9 the master and the roles that it has now. The directory stays."""
        pids = [r["pid"] for r in self.roles().values()]
        process, self.process = self.process, None
        process.kill()
        for pid in pids:
            with contextlib.suppress(ProcessLookupError):
                if pid != process.pid:
                    os.kill(pid, signal.SIGKILL)
        process.wait()
        self.log.close()
        for pid in pids:
            wait_for(f"role {pid} is gone", lambda: not is_alive(pid))

    def discard(self):
        """Whatever happened before: no process stays, and the directory goes."""
        if self.process is not None:
            self.process.kill()
            self.process.wait()
            self.process = None
            self.log.close()
        shutil.rmtree(self.folder, ignore_errors=True)

    def __enter__(self):
        return self.start()

    def __exit__(self, kind, value, trace):
        if kind is None:
            self.stop()
        elif self.process is not None:
            with contextlib.suppress(AssertionError):
                self.stop()

    def stderr(self):
        return self.errors.read_text(errors="replace") if self.errors.exists() else ""

    def assert_clean(self):
        found = SANITIZER_REPORT.search(self.stderr())
        assert not found, self.stderr()[max(0, found.start() - 200):]

    # What it says

    def status(self):
        return self.json("status")

    def counters(self):
        return self.status()["counters"]

    def generation(self):
        return self.status()["generation"]

    def roles(self):
        """name -> {"pid", "up", "restarts"} of each role, master included."""
        return {role["name"]: role for role in self.status()["roles"]}

    def address(self, name="inbound"):
        """(host, port) of a listener."""
        for listener in self.status()["listeners"]:
            if listener["name"] == name:
                host, port = listener["address"].rsplit(":", 1)
                return host.strip("[]"), int(port)
        raise AssertionError(f"no listener is called {name}")

    def track(self, *arguments, **criteria):
        """The records that `postern track` prints. Criteria: sender, recipient, mid, since."""
        for key, value in criteria.items():
            arguments += (f"--{key}", str(value))
        done = self.command("track", *arguments, "--json")
        assert done.returncode == 0, (done.returncode, done.stderr)
        return [json.loads(line) for line in done.stdout.splitlines()]

    def tracked(self, state, patience=PATIENCE, count=1, **criteria):
        """Wait until `count` records match and all their recipients are in `state`; the records (the one record)."""
        seen = []

        def check():
            seen[:] = self.track(**criteria)
            states = [r["state"] for record in seen for r in record["recipients"]]
            return len(seen) == count and states and all(s == state for s in states)

        wait_for(lambda: f"{count} tracked as {state} for {criteria}; last seen:\n{json.dumps(seen, indent=1)}\n"
            + self.stderr()[-3000:], check, patience)
        return seen[0] if count == 1 else seen


def is_alive(pid):
    """True while a thread of `pid` runs: the first may be a zombie while others still hold its files."""
    with contextlib.suppress(OSError):
        return any(map(thread_runs, pathlib.Path(f"/proc/{pid}/task").iterdir()))
    return False


def thread_runs(folder):
    with contextlib.suppress(OSError):
        return (folder / "stat").read_text().rsplit(")", 1)[1].split()[0] not in ("Z", "X")
    return False


# The receiving end that comes with the binary


class Sink:
    """`postern sink` in a directory of its own; collects its JSON lines."""

    def __init__(self, pki, *more):
        self.folder = make_folder()
        self.mail = self.folder / "mail"
        self.mail.mkdir()
        self.errors = open(self.folder / "stderr", "wb")
        self.process = subprocess.Popen([str(BINARY), "sink", "--listen", "127.0.0.1:0", "--certificate",
            str(pki.server), "--key", str(pki.key), "--dir", str(self.mail), "--json", *more],
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=self.errors, text=True, env=environment())
        self._messages = []
        self._lock = threading.Lock()
        first = self.process.stdout.readline()
        assert first, (self.folder / "stderr").read_text()
        self.address = json.loads(first)["listening"]
        self._thread = threading.Thread(target=self._read, daemon=True)
        self._thread.start()

    def _read(self):
        for line in self.process.stdout:
            with self._lock:
                self._messages.append(json.loads(line))

    @property
    def messages(self):
        with self._lock:
            return list(self._messages)

    def wait(self, count=1, patience=PATIENCE):
        """Wait for `count` messages in all; their JSON lines."""
        return wait_for(lambda: f"{count} messages at the sink ({len(self.messages)} came)",
            lambda: len(self.messages) >= count and self.messages, patience)

    def stored(self, message):
        """The bytes of the message's file."""
        path = pathlib.Path(message["file"])
        return (path if path.is_absolute() else self.mail / path).read_bytes()

    def content(self, message):
        """The message as it was received: without the Received field that the sink put in front."""
        field, rest = split_received(self.stored(message))
        assert SINK_NAME in field, field
        return rest

    def stop(self):
        self.process.send_signal(signal.SIGTERM)
        code = self.process.wait(timeout=PATIENCE)
        self._thread.join(timeout=PATIENCE)
        self.errors.close()
        text = (self.folder / "stderr").read_text(errors="replace")
        shutil.rmtree(self.folder, ignore_errors=True)
        assert not SANITIZER_REPORT.search(text), text
        assert code == 0, (code, text)

    def __enter__(self):
        return self

    def __exit__(self, kind, value, trace):
        if kind is None:
            self.stop()
        else:
            self.process.kill()
            self.process.wait()
            self.errors.close()
            shutil.rmtree(self.folder, ignore_errors=True)


# Messages


def message(subject="a test", body="Hello.\r\n", sender="alice@sender.test", recipient="bob@good.test"):
    """A small message with CRLF line ends."""
    return (f"From: <{sender}>\r\nTo: <{recipient}>\r\nSubject: {subject}\r\n"
        f"Date: Sat, 21 Nov 2026 10:00:00 +0000\r\nMessage-ID: <{subject.replace(' ', '.')}@sender.test>\r\n\r\n"
        f"{body}").encode()


def split_received(content):
    """(the Received field that the gateway put in front, unfolded; the message behind it)."""
    assert content.startswith(b"Received:"), content[:200]
    match = re.match(rb"Received:[^\r\n]*\r\n(?:[ \t][^\r\n]*\r\n)*", content)
    field, rest = match.group(0), content[match.end():]
    return re.sub(rb"\r\n[ \t]+", b" ", field).strip().decode(), rest


def free_address():
    """127.0.0.1:PORT that nobody listens on now."""
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return f"127.0.0.1:{s.getsockname()[1]}"
