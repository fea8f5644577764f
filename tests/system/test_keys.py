"""Role `keys`: private keys are in its memory and in no other; it signs for the rest, dies and comes back without harm."""

import hashlib
import os
import pathlib
import re
import shutil
import signal
import ssl
import threading

import pytest

import harness
import smtp
from test_conformance_processes import as_root, memory_holds

def openssl(*arguments, cwd=None):
    done = harness.run("openssl", *arguments, cwd=cwd)
    assert done.returncode == 0, done.stderr
    return done.stdout


def numbers_of(key):
    """What makes a key secret, as bytes: the scalar of an elliptic key, the primes of RSA; as in its DER form, and as OpenSSL computes with."""
    text = openssl("pkey", "-in", key, "-text", "-noout")
    found = re.findall(r"(?:priv|prime1|prime2):\n((?:\s+[0-9a-f:]+\n)+)", text)
    assert found, text.splitlines()[0]
    numbers = {bytes.fromhex(re.sub(r"[\s:]", "", block)).lstrip(b"\0") for block in found}
    return numbers | {number[::-1] for number in numbers}


def make_certificate(folder, name, kind, names=("gw.good.test",)):
    """A key and a self-signed certificate in FOLDER/NAME.key and .pem."""
    key = ["-newkey", "rsa:2048"] if kind == "rsa" else ["-newkey", "ec", "-pkeyopt", f"ec_paramgen_curve:{kind}"]
    openssl("req", "-x509", *key, "-nodes", "-keyout", folder / f"{name}.key", "-out", folder / f"{name}.pem", "-days", "30",
        "-subj", f"/CN={names[0]}", "-addext", "subjectAltName=" + ",".join(f"DNS:{n}" for n in names))
    (folder / f"{name}.key").chmod(0o600)
    return fingerprint(folder / f"{name}.pem")


def fingerprint(path):
    return hashlib.sha256(ssl.PEM_cert_to_DER_cert(path.read_text())).hexdigest()


def certificates(*names):
    return [{"name": name, "chain": f"pki/{name}.pem", "key": f"pki/{name}.key"} for name in names]


def settings(sink, *names, **more):
    """A listener for each certificate, called as it."""
    base = harness.settings(next_hop=sink.address, **more)
    base["certificates"] = certificates(*names)
    base["listeners"] = [dict(base["listeners"][0], name=name, certificate=name) for name in names]
    return base


def handshake(address, version=None):
    """A session with TLS; (client, fingerprint of what was presented)."""
    c = smtp.Client(address)
    c.ehlo()
    c.expect("STARTTLS", 220)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    if version:
        context.minimum_version = context.maximum_version = version
    c.socket = context.wrap_socket(c.socket, server_hostname="gw.good.test")
    c.ehlo()
    return c, hashlib.sha256(c.socket.getpeercert(binary_form=True)).hexdigest()


def presented(address, **options):
    c, shown = handshake(address, **options)
    c.quit()
    return shown


def restarted(gateway, name, old):
    """Kill a role that had pid `old`, and wait until it is back."""
    os.kill(old, signal.SIGKILL)
    harness.wait_for(f"{name} is back", lambda: (lambda r: r["up"] and r["pid"] != old)(gateway.roles()[name]))


@pytest.fixture
def two_kinds(make_gateway, sink):
    """A gateway with a listener for an elliptic key and one for RSA."""
    gateway = make_gateway(start=False)
    for name, kind in (("ec", "P-256"), ("rsa", "rsa")):
        make_certificate(gateway.folder / "pki", name, kind)
    gateway.configure(settings(sink, "ec", "rsa", metrics={"address": "127.0.0.1:0"}))
    return gateway.start()


# Where keys are


@as_root
@pytest.mark.parametrize("event", ["start", "reload", "all killed"])
def test_11_39_private_keys_are_in_the_memory_of_keys_and_of_no_other(two_kinds, sink, event):
    gateway = two_kinds
    if event == "reload":
        assert gateway.command("reload").returncode == 0
    elif event == "all killed":
        for name in ("keys", "front", "deliver"):
            restarted(gateway, name, gateway.roles()[name]["pid"])

    def flows():
        try:
            for listener in ("ec", "rsa"):
                for version in (ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3):
                    c, _ = handshake(gateway.address(listener), version)
                    c.mail(f"{listener}@sender.test", "bob@good.test", harness.message())
                    c.quit()
        except (OSError, smtp.Closed, AssertionError):
            return False  # the wires are laid again
        return True

    harness.wait_for("mail is taken with every key and version", flows)
    words = set()
    for name in ("ec", "rsa"):
        words |= numbers_of(gateway.folder / f"pki/{name}.key")
    found = {name: memory_holds(role["pid"], words) for name, role in gateway.roles().items()}
    assert len(found.pop("keys")) >= 3, "the scalar and both primes: the search can find them"
    assert {name for name, words in found.items() if words} == set()
    assert set(found) == {"master", "front", "queue", "deliver", "resolver", "upkeep", "admin"}


@as_root
def test_11_39_a_key_beside_its_chain_in_one_file(make_gateway, sink):
    """What `front` gets of such a file is the chain."""
    gateway = make_gateway(start=False)
    folder = gateway.folder / "pki"
    shown = make_certificate(folder, "both", "P-256")
    both = (folder / "both.key").read_text() + (folder / "both.pem").read_text()
    (folder / "both.pem").write_text(both)
    configuration = settings(sink, "both")
    configuration["certificates"][0]["key"] = "pki/both.pem"
    (folder / "both.pem").chmod(0o600)
    gateway.configure(configuration)
    gateway.start()
    assert presented(gateway.address("both")) == shown
    words = numbers_of(folder / "both.key") | {line for line in (folder / "both.key").read_bytes().splitlines() if len(line) > 40}
    found = {name: memory_holds(role["pid"], words) for name, role in gateway.roles().items()}
    assert found.pop("keys")
    assert not any(found.values()), found


@as_root
def test_11_39_keys_of_the_store_are_in_the_memory_of_keys_only(make_gateway, sink):
    """One that `postern cert` made, and the demo certificate's, which master made itself."""
    gateway = make_gateway(start=False)
    configuration = settings(sink, "web", "demo")
    configuration["certificates"] = [{"name": "web"}]
    gateway.configure(configuration)
    made = gateway.command("cert", "create", "web", "--common-name", "web.good.test", "--days", "30", "--key", "rsa:2048")
    assert made.returncode == 0, made.stderr
    gateway.start()
    for name in ("web", "demo"):
        key = gateway.folder / f"state/pki/certificates/{name}/key.pem"
        words = numbers_of(key) | {line for line in key.read_bytes().splitlines() if len(line) >= 40 and b"-----" not in line}
        assert presented(gateway.address(name)) == gateway.json("cert", "show", name)["fingerprint_sha256"].replace(":", "").lower()
        found = {role: memory_holds(process["pid"], words) for role, process in gateway.roles().items()}
        assert found.pop("keys"), name
        assert not any(found.values()), (name, {role for role, words in found.items() if words})


def test_11_39_keys_is_counted(two_kinds):
    gateway = two_kinds
    before = gateway.counters()["signatures_by"]
    presented(gateway.address("ec"))
    presented(gateway.address("rsa"))
    after = gateway.counters()["signatures_by"]
    assert after["front.signed"] == before["front.signed"] + 2, (before, after)
    assert all(value == 0 for name, value in after.items() if name != "front.signed"), after
    assert gateway.counters()["signatures"]["signed"] == after["front.signed"]


def test_11_39_without_a_right_nothing_is_signed(make_gateway, sink):
    """A certificate that no listener names: nobody asks for it, and the gateway works."""
    gateway = make_gateway(start=False)
    for name in ("used", "spare"):
        make_certificate(gateway.folder / "pki", name, "P-256")
    configuration = settings(sink, "used")
    configuration["certificates"] = certificates("used", "spare")
    gateway.configure(configuration)
    gateway.start()
    assert presented(gateway.address("used")) == fingerprint(gateway.folder / "pki/used.pem")


@as_root
def test_11_39_keys_has_no_network(gateway):
    roles = gateway.roles()
    networks = {name: os.readlink(f"/proc/{role['pid']}/ns/net") for name, role in roles.items()}
    assert networks.pop("keys") not in networks.values()
    assert len(set(networks.values())) == 1
    routes = pathlib.Path(f"/proc/{roles['keys']['pid']}/net/route").read_text().splitlines()
    assert len(routes) <= 1, "the headline only"


# It dies


def test_11_39_keys_is_killed_under_handshakes(two_kinds):
    """Every handshake waits for the new one; no other role restarts and no session drops."""
    gateway = two_kinds
    before = gateway.roles()
    held, _ = handshake(gateway.address("rsa"))
    wanted = {name: fingerprint(gateway.folder / f"pki/{name}.pem") for name in ("ec", "rsa")}
    failures, done, stop = [], [], threading.Event()

    def storm(name):
        address = gateway_addresses[name]
        while not stop.is_set():
            try:
                assert presented(address) == wanted[name]
                done.append(name)
            except Exception as e:  # noqa: BLE001: any failure fails the test
                failures.append(repr(e))
                return

    gateway_addresses = {name: gateway.address(name) for name in wanted}
    threads = [threading.Thread(target=storm, args=(name,)) for name in ("ec", "rsa") * 2]
    for thread in threads:
        thread.start()
    try:
        for _ in range(3):
            count = len(done)
            harness.wait_for("handshakes succeed", lambda: len(done) > count + 5 or failures)
            restarted(gateway, "keys", gateway.roles()["keys"]["pid"])
        count = len(done)
        harness.wait_for("and go on", lambda: len(done) > count + 5 or failures)
    finally:
        stop.set()
        for thread in threads:
            thread.join()
    assert failures == []
    held.mail("held@sender.test", "bob@good.test", harness.message())
    held.quit()
    after = gateway.roles()
    assert after["keys"]["restarts"] == 3
    assert {n: r["pid"] for n, r in after.items() if n != "keys"} == {n: r["pid"] for n, r in before.items() if n != "keys"}
    assert "tls_failed" not in gateway.stderr()


def test_11_39_a_handshake_waits_while_keys_is_dead(two_kinds):
    """`keys` stands still when the ask comes, and is killed: the one after it answers."""
    gateway = two_kinds
    address, old = gateway.address("ec"), gateway.roles()["keys"]["pid"]
    os.kill(old, signal.SIGSTOP)
    shown = []
    thread = threading.Thread(target=lambda: shown.append(presented(address)))
    thread.start()
    os.kill(old, signal.SIGKILL)
    thread.join(harness.PATIENCE)
    assert shown == [fingerprint(gateway.folder / "pki/ec.pem")]


def test_11_39_the_wait_has_an_end(two_kinds):
    """`keys` does not answer at all: the handshake fails, is told, and the next ones work again."""
    gateway = two_kinds
    address, pid = gateway.address("ec"), gateway.roles()["keys"]["pid"]
    before = {name: role["pid"] for name, role in gateway.roles().items()}
    os.kill(pid, signal.SIGSTOP)
    try:
        with pytest.raises((OSError, smtp.Closed)):
            presented(address)
    finally:
        os.kill(pid, signal.SIGCONT)
    harness.wait_for("a handshake succeeds", lambda: presented(address) == fingerprint(gateway.folder / "pki/ec.pem"))
    assert re.search(r" key_not_used certificate=ec ", gateway.stderr()), gateway.stderr()
    assert {name: role["pid"] for name, role in gateway.roles().items()} == before


# Reload


def test_8_21_a_new_key_by_reload_while_sessions_are_open(make_gateway, sink):
    gateway = make_gateway(start=False)
    folder = gateway.folder / "pki"
    old = make_certificate(folder, "main", "P-256")
    gateway.configure(settings(sink, "main"))
    gateway.start()
    secured, shown = handshake(gateway.address("main"))
    assert shown == old
    clear = smtp.Client(gateway.address("main"))
    clear.ehlo()

    new = make_certificate(folder, "main", "rsa")
    assert gateway.command("reload").returncode == 0
    assert presented(gateway.address("main")) == new
    clear.starttls()
    assert hashlib.sha256(clear.socket.getpeercert(binary_form=True)).hexdigest() == old, "as it began"
    for n, c in enumerate((secured, clear)):
        c.ehlo()
        c.mail(f"open{n}@sender.test", "bob@good.test", harness.message())
        c.quit()
    gateway.tracked("delivered", count=2, recipient="bob@good.test")


def test_8_21_a_broken_key_leaves_the_old_pair(make_gateway, sink):
    gateway = make_gateway(start=False)
    folder = gateway.folder / "pki"
    old = make_certificate(folder, "main", "P-256")
    gateway.configure(settings(sink, "main"))
    gateway.start()
    keep = folder / "keep.key"
    shutil.copy(folder / "main.key", keep)
    for broken in ("", "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n", (folder / "other.key").read_text()):
        (folder / "main.key").write_text(broken)
        done = gateway.command("reload")
        assert done.returncode == 1 and "certificates[main].key" in done.stderr, done.stderr
        assert presented(gateway.address("main")) == old
    restarted(gateway, "keys", gateway.roles()["keys"]["pid"])
    assert presented(gateway.address("main")) == old, "the new process has the key that is in use, not the file's"


def test_8_21_a_reload_while_keys_is_restarted(make_gateway, sink):
    gateway = make_gateway(start=False)
    folder = gateway.folder / "pki"
    make_certificate(folder, "main", "P-256")
    gateway.configure(settings(sink, "main"))
    gateway.start()
    for n in range(3):
        new = make_certificate(folder, "main", ("rsa", "P-384", "P-256")[n])
        os.kill(gateway.roles()["keys"]["pid"], signal.SIGKILL)
        done = gateway.command("reload")
        if done.returncode != 0:  # the role died under the reload's eyes: nothing has changed
            assert "keys" in done.stderr, done.stderr
            harness.wait_for("the reload succeeds", lambda: gateway.command("reload").returncode == 0)
        assert presented(gateway.address("main")) == new
    harness.wait_for("keys is up", lambda: gateway.roles()["keys"]["up"])
    assert gateway.roles()["keys"]["generation"] == gateway.generation()


# Real clients


@pytest.mark.parametrize("version", ["-tls1_2", "-tls1_3"])
@pytest.mark.parametrize("listener", ["ec", "rsa"])
def test_11_39_openssl_meets_every_kind(two_kinds, listener, version):
    host, port = two_kinds.address(listener)
    done = harness.run("openssl", "s_client", "-starttls", "smtp", "-connect", f"{host}:{port}", version,
        "-CAfile", two_kinds.folder / f"pki/{listener}.pem", "-verify_return_error", "-verify_hostname", "gw.good.test")
    assert "Verify return code: 0 (ok)" in done.stdout + done.stderr, done.stdout + done.stderr


@pytest.mark.parametrize("listener", ["ec", "rsa"])
@pytest.mark.skipif(not shutil.which("posttls-finger", path="/usr/sbin"), reason="posttls-finger is not installed")
def test_11_39_postfix_meets_every_kind(two_kinds, tmp_path, listener):
    host, port = two_kinds.address(listener)
    (tmp_path / "main.cf").write_text("compatibility_level = 3.6\n")
    done = harness.run("env", f"MAIL_CONFIG={tmp_path}", "/usr/sbin/posttls-finger", "-c", "-l", "fingerprint", "-d", "sha256", "-L", "summary", f"[{host}]:{port}",
        ":".join(re.findall("..", fingerprint(two_kinds.folder / f"pki/{listener}.pem"))))
    assert "Verified TLS connection established" in done.stdout + done.stderr, done.stdout + done.stderr


@pytest.mark.skipif(not shutil.which("swaks"), reason="swaks is not installed")
def test_11_39_swaks_sends_with_tls(two_kinds, sink):
    host, port = two_kinds.address("rsa")
    done = harness.run("swaks", "--server", host, "--port", port, "--tls", "--from", "swaks@sender.test", "--to", "bob@good.test")
    assert done.returncode == 0, done.stdout + done.stderr
    two_kinds.tracked("delivered", sender="swaks@sender.test")
