"""TLS profiles (E38-E44) on listeners of a running gateway, seen by Python's ssl and by openssl s_client with pinned versions."""

import re
import socket
import ssl
import subprocess

import pytest

import harness
import smtp

pytestmark = pytest.mark.filterwarnings("ignore:ssl.TLSVersion:DeprecationWarning")

TLS = {"1.0": ssl.TLSVersion.TLSv1, "1.1": ssl.TLSVersion.TLSv1_1, "1.2": ssl.TLSVersion.TLSv1_2,
    "1.3": ssl.TLSVersion.TLSv1_3}

PROFILES = {
    "standard": None,  # none named: TLS-Server.Standard
    "client": "TLS-Client.Standard",
    "old": {"min_version": "1.0", "max_version": "1.1"},
    "any": {"min_version": "1.0"},
    "modern": {"min_version": "1.3"},
    "pfs": {"pfs": "required"},
    "bare": {"pfs": "none"},
    "p384": {"groups": "P-384"},
    "chacha": {"ciphers": "ECDHE+CHACHA20", "max_version": "1.2"},
    "lax": {"compliance": False},
}


def configuration(profiles, next_hop="127.0.0.1:9"):
    """One listener for each profile, called as it; its certificate is the RSA one."""
    base = harness.settings(next_hop=next_hop)
    base["certificates"].append({"name": "rsa", "chain": "pki/rsa.pem", "key": "pki/rsa.key"})
    base["tls_profiles"] = [dict(name=name, **values) for name, values in profiles.items() if isinstance(values, dict)]
    base["listeners"] = [{"name": name, "type": "public", "address": "127.0.0.1:0", "certificate": "rsa",
        "policy": "accepted", **({} if values is None else {"tls_profile": values if isinstance(values, str) else name})}
        for name, values in profiles.items()]
    return base


def make_rsa(folder):
    done = harness.run("openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout", folder / "rsa.key", "-out",
        folder / "rsa.pem", "-days", 30, "-subj", f"/CN={harness.HOSTNAME}")
    assert done.returncode == 0, done.stderr
    (folder / "rsa.key").chmod(0o644)


@pytest.fixture
def start(make_gateway, sink):
    """start(profiles) -> a gateway with a listener for each profile."""

    def make(profiles):
        gateway = make_gateway(configuration(profiles, sink.address), start=False)
        make_rsa(gateway.folder / "pki")
        return gateway.start()

    return make


def handshake(address, lowest="1.0", highest="1.3", ciphers="ALL"):
    """STARTTLS with a client that speaks these versions; (protocol, cipher), or ssl.SSLError."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    context.set_ciphers(ciphers + ":@SECLEVEL=0")
    context.minimum_version, context.maximum_version = TLS[lowest], TLS[highest]
    with smtp.Client(address) as c:
        c.ehlo()
        c.expect("STARTTLS", 220)
        c.socket = context.wrap_socket(c.socket)
        protocol, cipher = c.socket.version(), c.socket.cipher()[0]
        c.ehlo()
        c.quit()
        return protocol, cipher


def refused(gateway, name, reason, **client):
    """Assert that the handshake is refused, that the log says why, and that the listener lives on."""
    before = gateway.stderr().count("tls_failed")
    with pytest.raises((ssl.SSLError, ConnectionResetError)) as caught:
        handshake(gateway.address(name), **client)
    harness.wait_for("the failed handshake is logged", lambda: gateway.stderr().count("tls_failed") > before)
    line = [line for line in gateway.stderr().splitlines() if "tls_failed" in line][-1]
    assert reason in line, line
    with smtp.Client(gateway.address(name)) as c:
        assert "STARTTLS" in c.ehlo().offers
        c.quit()
    return str(caught.value)


def s_client(address, *more):
    """What openssl s_client says about one STARTTLS handshake."""
    done = subprocess.run(["openssl", "s_client", "-starttls", "smtp", "-connect", "%s:%d" % address, *more],
        input="QUIT\r\n", capture_output=True, text=True, timeout=harness.PATIENCE, env=harness.environment())
    return done.stdout + done.stderr


def test_E39_versions(start):
    gateway = start({name: PROFILES[name] for name in ("standard", "client", "old", "any", "modern")})
    wanted = {"standard": ["1.2", "1.3"], "client": ["1.2", "1.3"], "old": ["1.0", "1.1"],
        "any": ["1.0", "1.1", "1.2", "1.3"], "modern": ["1.3"]}
    for name, versions in wanted.items():
        for version in TLS:
            if version in versions:
                protocol, _ = handshake(gateway.address(name), version, version)
                assert protocol == {"1.0": "TLSv1"}.get(version, "TLSv" + version)
            elif version < versions[0]:
                assert "PROTOCOL_VERSION" in refused(gateway, name, "unsupported protocol", lowest=version,
                    highest=version).upper()
            else:
                refused(gateway, name, "reason=", lowest=version, highest=version)  # by the client
        assert handshake(gateway.address(name))[0] == {"old": "TLSv1.1"}.get(name, "TLSv1.3")


def test_E39_openssl_s_client_is_told_the_version(start):
    gateway = start({name: PROFILES[name] for name in ("standard", "modern")})
    assert "alert protocol version" in s_client(gateway.address("modern"), "-tls1_2")
    assert "alert protocol version" in s_client(gateway.address("standard"), "-tls1_1", "-cipher", "ALL:@SECLEVEL=0")
    assert "TLSv1.3" in s_client(gateway.address("modern"), "-tls1_3")


def test_E42_forward_secrecy(start):
    gateway = start({name: PROFILES[name] for name in ("standard", "pfs", "bare")})
    forward, plain = dict(highest="1.2", ciphers="kECDHE"), dict(highest="1.2", ciphers="kRSA")
    assert handshake(gateway.address("standard"), **forward)[1].startswith("ECDHE-")
    refused(gateway, "standard", "no shared cipher", **plain)  # the predefined profile lists suites with ECDHE only
    assert handshake(gateway.address("pfs"), **forward)[1].startswith("ECDHE-")
    assert handshake(gateway.address("pfs"))[0] == "TLSv1.3"
    refused(gateway, "pfs", "no shared cipher", **plain)
    refused(gateway, "bare", "no shared cipher", **forward)
    refused(gateway, "bare", "unsupported protocol", lowest="1.3")
    protocol, cipher = handshake(gateway.address("bare"))
    assert protocol == "TLSv1.2" and cipher.startswith("AES")


def test_E38_ciphers_and_groups(start):
    gateway = start({name: PROFILES[name] for name in ("p384", "chacha")})
    assert handshake(gateway.address("chacha")) == ("TLSv1.2", "ECDHE-RSA-CHACHA20-POLY1305")
    refused(gateway, "chacha", "no shared cipher", highest="1.2", ciphers="ECDHE+AESGCM")
    assert re.search(r"Server Temp Key: (ECDH, )?(P-384|secp384r1)", s_client(gateway.address("p384")))
    assert "alert handshake failure" in s_client(gateway.address("p384"), "-groups", "X25519:P-256")


def test_E38_the_profile_of_a_leg_is_seen_in_its_evidence(start, sink):
    gateway = start({"chacha": PROFILES["chacha"]})
    smtp.submit(gateway.address("chacha"), "a@sender.test", "bob@good.test", harness.message())
    tls = gateway.tracked("delivered", sender="a@sender.test")["inbound"]["tls"]
    assert (tls["protocol"], tls["cipher"]) == ("TLSv1.2", "ECDHE-RSA-CHACHA20-POLY1305")


@pytest.mark.parametrize("junk", [b"this is not TLS\r\nMAIL FROM:<evil@sender.test>\r\n", b"\x17\x03\x03\x00\x05hello",
    b"\x16\x03\x01\xff\xff\x01"])
def test_E40_no_tls_record_is_dropped_with_compliance_and_without(start, junk):
    gateway = start({name: PROFILES[name] for name in ("standard", "lax")})
    for number, name in enumerate(("standard", "lax"), 1):
        with smtp.Client(gateway.address(name)) as c:
            c.ehlo()
            c.expect("STARTTLS", 220)
            c.send(junk)
            c.socket.shutdown(socket.SHUT_WR)
            rest = c.rest()
            assert rest == b"" or (len(rest) == 7 and rest[0] == 21), rest
        harness.wait_for("it is logged", lambda: gateway.stderr().count("tls_failed") == number)


def test_E39_a_reload_changes_the_profile_of_a_listener(start):
    gateway = start({"chosen": {"min_version": "1.2"}})
    address = gateway.address("chosen")
    assert handshake(address, highest="1.2")[0] == "TLSv1.2"
    gateway.configure(gateway.file.read_text().replace('min_version: "1.2"', 'min_version: "1.3"'))
    done = gateway.command("reload")
    assert done.returncode == 0, done.stderr
    assert gateway.address("chosen") == address
    refused(gateway, "chosen", "unsupported protocol", highest="1.2")
    assert handshake(address)[0] == "TLSv1.3"


def test_E44_deleting_a_profile_that_is_used_is_refused(start):
    gateway = start({"chosen": {"min_version": "1.3"}})
    good = configuration({"chosen": {"min_version": "1.3"}})
    gateway.configure(dict(good, tls_profiles=[]))
    done = gateway.command("check")
    assert done.returncode == 1
    assert re.search(r"postern\.yaml:\d+: listeners\[chosen\]\.tls_profile: there is no `chosen` in tls_profiles",
        done.stderr), done.stderr
    done = gateway.command("reload")
    assert done.returncode == 1 and "tls_profile" in done.stderr, done.stderr
    refused(gateway, "chosen", "unsupported protocol", highest="1.2")  # it goes on with what it has


def test_E44_deleting_a_profile_that_nobody_uses_is_fine(start):
    gateway = start({"chosen": {"min_version": "1.3"}})
    gateway.configure(gateway.file.read_text().replace("tls_profile: chosen", "tls_profile: TLS-Server.Standard"))
    assert gateway.command("reload").returncode == 0
    good = configuration({"chosen": "TLS-Server.Standard"})
    gateway.configure(good)
    done = gateway.command("check")
    assert done.returncode == 0, done.stderr
    assert handshake(gateway.address("chosen"), highest="1.2")[0] == "TLSv1.2"


def test_E43_predefined_profiles_are_read_only_and_not_shown(start):
    gateway = start({"standard": None, "client": "TLS-Client.Standard"})
    shown = gateway.command("config", "show").stdout
    assert "tls_profiles: []" in shown
    assert "tls_profile: TLS-Server.Standard" in shown and "tls_profile: TLS-Client.Standard" in shown
    for name in ("TLS-Server.Standard", "TLS-Client.Standard"):
        gateway.configure(dict(configuration({"standard": None}), tls_profiles=[{"name": name, "min_version": "1.0"}]))
        done = gateway.command("check")
        assert done.returncode == 1 and "is predefined" in done.stderr and "another name" in done.stderr, done.stderr


@pytest.mark.parametrize("values, words", [
    ({"ciphers": "ECDEH+AESGCM"}, ["ciphers", "ECDEH+AESGCM"]),
    ({"groups": "X25519:P-257"}, ["groups", "P-257"]),
    ({"ciphers": "kRSA", "pfs": "required"}, ["ciphers", "pfs: required"]),
    ({"min_version": "1.3", "max_version": "1.2"}, ["min_version", "max_version"]),
    ({"min_version": "1.3", "pfs": "none"}, ["pfs", "TLS 1.3"]),
    ({"ocsp": "on"}, ["ocsp", "expected one of off, lenient, strict"]),
])
def test_E38_a_profile_that_cannot_work_is_refused_by_check_run_and_reload(start, values, words):
    gateway = start({"standard": None})
    bad = configuration({"standard": None, "chosen": values})
    gateway.configure(bad)
    for command in ("check", "reload", ("config", "show")):
        done = gateway.command(*([command] if isinstance(command, str) else command))
        assert done.returncode == 1, (command, done.stdout)
        for word in words:
            assert word in done.stderr, (command, done.stderr)
        assert re.search(r"postern\.yaml:\d+: tls_profiles\[chosen\]", done.stderr), done.stderr
    gateway.stop()
    done = gateway.command("run")
    assert done.returncode != 0 and words[0] in done.stderr, done.stderr


def test_E42_no_forward_secrecy_wants_an_rsa_certificate(start):
    gateway = start({"standard": None})
    bad = configuration({"bare": PROFILES["bare"]})
    bad["listeners"][0]["certificate"] = "main"
    gateway.configure(bad)
    done = gateway.command("check")
    assert done.returncode == 1
    assert "listeners[bare].certificate" in done.stderr and "RSA" in done.stderr, done.stderr


def test_E38_E39_a_destination_names_the_profile_of_its_handshakes(make_gateway, make_peer):
    """One server speaks no TLS 1.3, which new.test demands; the profile of a leg is seen in its evidence."""
    old, any_ = make_peer(), make_peer()
    old.context.maximum_version = ssl.TLSVersion.TLSv1_2
    routes = [{"domain": f"{name}.test", "next_hop": f"127.0.0.1:{peer.port}"}
        for name, peer in (("old", old), ("new", old), ("chacha", any_), ("plain", any_))]
    gateway = make_gateway(harness.settings(accepted_domains=[route["domain"] for route in routes], routes=routes, delivery={"retry": ["1h"]},
        tls_profiles=[dict(name="modern", **PROFILES["modern"]), dict(name="chacha", **PROFILES["chacha"]), {"name": "unused"}],
        destinations=[{"domain": "new.test", "tls_profile": "modern"}, {"domain": "chacha.test", "tls_profile": "chacha"}]))

    def attempt(domain, state):
        smtp.submit(gateway.address(), f"{domain}@sender.test", f"bob@{domain}.test", harness.message())
        return gateway.tracked(state, sender=f"{domain}@sender.test")["recipients"][0]["attempts"][-1]

    assert attempt("old", "delivered")["tls"]["protocol"] == "TLSv1.2"
    assert "the TLS handshake failed" in attempt("new", "deferred")["reply"]
    assert attempt("chacha", "delivered")["tls"]["cipher"] == "ECDHE-ECDSA-CHACHA20-POLY1305"
    assert attempt("plain", "delivered")["tls"]["protocol"] == "TLSv1.3"


def test_2_15_2_16_neither_a_connection_nor_a_session_is_shared_between_profiles(make_gateway, make_peer):
    """Two domains behind one server; the second mail waits until the first is delivered, and its connection is open still."""
    peer = make_peer()
    hop = f"127.0.0.1:{peer.port}"
    gateway = make_gateway(harness.settings(accepted_domains=["a.test", "b.test"], delivery={"retry": ["1h"]},
        routes=[{"domain": "a.test", "next_hop": hop}, {"domain": "b.test", "next_hop": hop}],
        tls_profiles=[{"name": "p384", "groups": "P-384"}], destinations=[{"domain": "b.test", "tls_profile": "p384"}]))
    for number, domain in enumerate(["a.test", "b.test", "b.test"]):
        smtp.submit(gateway.address(), f"{number}@sender.test", f"bob@{domain}", harness.message())
        tls = gateway.tracked("delivered", sender=f"{number}@sender.test")["recipients"][0]["attempts"][-1]["tls"]
        assert (tls["group"] in ("P-384", "secp384r1")) == (domain == "b.test"), tls
        assert not tls["resumed"] or number == 2
