"""Conformance 1d: TLS that is required or optional, failed handshakes, how many of them a client may have."""

import contextlib
import errno
import os
import re
import select
import socket
import ssl
import struct
import subprocess

import pytest

import faults
import harness
import smtp
from test_tls_profiles import make_rsa


def test_1_49_a_failed_handshake_is_logged_with_peer_and_reason(gateway):
    with smtp.Client(gateway.address()) as c:
        c.ehlo()
        c.expect("STARTTLS", 220)
        c.send(b"this is no ClientHello\r\nMAIL FROM:<evil@sender.test>\r\n")
        assert b"250" not in c.rest()

    def logged():
        return [line for line in gateway.stderr().splitlines() if line.split(" ")[0] != "session_start" and "tls" in line.lower()
            and "127.0.0.1" in line and "reason=" in line]

    harness.wait_for(lambda: "the handshake is logged\n" + gateway.stderr(), logged)
    assert gateway.track(sender="evil@sender.test") == []


def test_1_50_refusals_count_as_errors(make_gateway, sink):
    gateway = make_gateway(next_hop=sink.address, listener_tls="required", limits={"errors": 3})
    with smtp.Client(gateway.address()) as c:
        c.ehlo()
        for _ in range(3):
            c.expect("MAIL FROM:<a@sender.test>", 530, "5.7.0")
        c.expect("MAIL FROM:<a@sender.test>", 421, "4.7.0")
        c.expect_closed()


def test_1_50_octets_of_bdat_are_no_commands(make_gateway, sink):
    gateway = make_gateway(next_hop=sink.address, listener_tls="required")
    with smtp.Client(gateway.address()) as c:
        c.ehlo()
        c.send(b"BDAT 12 LAST\r\nNOOP\r\nNOOP\r\n")
        reply = c.read()
        assert (reply.code, reply.status) == (530, "5.7.0"), reply
        try:
            c.quit()
        except (smtp.Closed, OSError):
            pass  # it closed rather than read what it does not want


def test_1_51_tls_is_optional_on_a_public_listener_by_default(make_gateway, sink):
    configuration = harness.settings(next_hop=sink.address, mail_flow_policies=[{"name": "accepted"}])
    gateway = make_gateway(configuration)
    smtp.submit(gateway.address(), "clear@sender.test", "bob@good.test", harness.message(), tls=False)
    record = gateway.tracked("delivered", sender="clear@sender.test")
    assert record["inbound"]["tls"]["desired"] == "preferred"


def codes_of_starttls(gateway, count, source=None):
    """The replies' codes to STARTTLS of so many sessions; what hears 220 shakes hands."""
    codes = []
    for _ in range(count):
        with smtp.Client(gateway.address(), source=source) as c:
            c.ehlo()
            reply = c.do("STARTTLS")
            assert reply.code == 220 or (reply.code, reply.status) == (454, "4.7.0"), reply
            codes.append(reply.code)
            if reply.code == 220:
                c.handshake()
                c.ehlo()
            c.quit()
    return codes


def test_1_53_handshakes_are_limited_by_the_rate(make_gateway, sink):
    gateway = make_gateway(next_hop=sink.address, limits={"tls_rate": 5})
    assert codes_of_starttls(gateway, 8) == [220] * 5 + [454] * 3
    assert codes_of_starttls(gateway, 1, source="127.0.0.77") == [454], "the same network"
    assert codes_of_starttls(gateway, 2, source="127.0.9.9") == [220] * 2, "another one"
    refused = [line for line in gateway.stderr().splitlines() if " tls_refused " in line]
    assert len(refused) == 4 and all("client=127.0.0." in line and "limits.tls_rate" in line for line in refused), refused


def test_1_53_after_454_the_session_goes_on(make_gateway, sink):
    """In clear where that is allowed, and not where it is not; another STARTTLS is refused the same way."""
    policies = [{"name": "accepted", "tls": "preferred"}, {"name": "strict", "tls": "required"}]
    gateway = make_gateway(next_hop=sink.address, limits={"tls_rate": 1}, mail_flow_policies=policies,
        sender_groups=[{"name": "strict", "networks": ["127.0.0.77"], "policy": "strict"}])
    assert codes_of_starttls(gateway, 1) == [220]
    with smtp.Client(gateway.address()) as c:
        assert "STARTTLS" in c.ehlo().offers
        c.expect("STARTTLS", 454, "4.7.0")
        c.expect("STARTTLS", 454, "4.7.0")
        c.mail("clear@sender.test", "bob@good.test", harness.message())
        c.quit()
    with smtp.Client(gateway.address(), source="127.0.0.77") as c:
        c.ehlo()
        c.expect("STARTTLS", 454, "4.7.0")
        c.expect("MAIL FROM:<a@sender.test>", 530, "5.7.0")
        c.quit()
    record = gateway.tracked("delivered", sender="clear@sender.test")
    assert record["inbound"]["tls"]["obtained"] != "encrypted"


def test_1_53_the_rate_follows_a_reload(make_gateway, sink):
    gateway = make_gateway(next_hop=sink.address)
    assert codes_of_starttls(gateway, 10) == [220] * 10, "no limit unless there is one"
    gateway.configure(harness.settings(next_hop=sink.address, limits={"tls_rate": 2}))
    assert gateway.command("reload").returncode == 0
    assert codes_of_starttls(gateway, 3) == [220] * 2 + [454]


def test_1_53_the_client_behind_a_proxy_is_counted(make_gateway, sink):
    """By its own network, not that of the load balancer; XCLIENT changes nothing."""
    configuration = harness.settings(next_hop=sink.address, limits={"tls_rate": 1})
    configuration["listeners"][0].update(proxy_protocol_from=["127.0.0.1"], xclient_from=["203.0.113.0/24"])
    gateway = make_gateway(configuration)

    def starttls(client, *commands):
        with smtp.Client(gateway.address(), before=f"PROXY TCP4 {client} 198.51.100.1 4000 25\r\n".encode()) as c:
            c.ehlo()
            for command in commands:
                c.expect(command, 220)
            return c.do("STARTTLS").code

    assert [starttls("192.0.2.1"), starttls("192.0.2.2"), starttls("198.51.100.7")] == [220, 454, 220]
    assert starttls("203.0.113.1", "XCLIENT ADDR=192.0.2.1") == 220
    assert starttls("203.0.113.1", "XCLIENT ADDR=10.0.0.1") == 454


def test_1_53_connections_are_limited_by_their_own_rate(make_gateway, sink):
    """One session has one handshake at most: the rate of connections bounds that of handshakes."""
    gateway = make_gateway(next_hop=sink.address, limits={"rate": 5})
    assert codes_of_starttls(gateway, 5) == [220] * 5
    with smtp.Client(gateway.address()) as c:
        assert (c.greeting.code, c.greeting.status) == (421, "4.7.0"), c.greeting
    assert codes_of_starttls(gateway, 1, source="127.0.9.9") == [220]


@pytest.mark.parametrize("mode", ["broken", "silent"])
def test_1_53_failed_handshakes_count(make_gateway, sink, mode):
    gateway = make_gateway(next_hop=sink.address, limits={"tls_rate": 5})
    for _ in range(5):
        with smtp.Client(gateway.address()) as c:
            c.ehlo()
            c.expect("STARTTLS", 220)
            if mode == "broken":
                c.send(b"no ClientHello\r\n")
                c.rest()
    assert codes_of_starttls(gateway, 1) == [454]


def test_1_53_what_is_refused_otherwise_is_no_handshake(make_gateway, sink):
    gateway = make_gateway(next_hop=sink.address, limits={"tls_rate": 1})
    with smtp.Client(gateway.address()) as c:
        c.ehlo()
        c.expect("STARTTLS now", 501)
        c.starttls()
        c.ehlo()
        c.expect("STARTTLS", 503)
        c.quit()
    assert codes_of_starttls(gateway, 1) == [454]


def s_client(gateway, *options, words=""):
    host, port = gateway.address()
    done = subprocess.run(["openssl", "s_client", "-starttls", "smtp", "-connect", f"{host}:{port}", *options], input=words, capture_output=True,
        text=True, timeout=harness.PATIENCE, env=harness.environment())
    return done.stdout + done.stderr


def test_8_15_no_early_data_is_taken(gateway):
    said = s_client(gateway, "-tls1_3", "-crlf", "-ign_eof", words="ehlo client.test\nquit\n")
    assert "Post-Handshake New Session Ticket arrived" in said and "Max Early Data: 0" in said, said


def test_8_16_renegotiation_is_refused(gateway):
    """`R` at the beginning of a line makes s_client try it."""
    said = s_client(gateway, "-tls1_2", words="R\n")
    assert "RENEGOTIATING" in said and "no renegotiation" in said, said
    assert said.count("Certificate chain") <= 1


class Terminal:
    """openssl s_client over STARTTLS, typed at: what it shows grows in .shown."""

    def __init__(self, gateway, *options):
        host, port = gateway.address()
        self.process = subprocess.Popen(["openssl", "s_client", "-starttls", "smtp", "-connect", f"{host}:{port}", "-crlf", *options],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, env=harness.environment())
        self.shown = b""

    def __enter__(self):
        return self

    def __exit__(self, *unused):
        self.process.kill()
        self.process.wait()
        self.process.stdin.close()
        self.process.stdout.close()

    def type(self, line):
        with contextlib.suppress(BrokenPipeError):
            self.process.stdin.write(line)
            self.process.stdin.flush()

    def read_until(self, words, times=1):
        """Read until `words` were shown so many times, or until it ends (False)."""
        while self.shown.count(words) < times:
            assert select.select([self.process.stdout], [], [], harness.PATIENCE)[0], self.shown
            got = os.read(self.process.stdout.fileno(), 65536)
            if not got:
                return False
            self.shown += got
        return True


@pytest.mark.parametrize("letter", [b"k", b"K"])
def test_8_16_a_flood_of_key_updates_ends_the_session(gateway, letter):
    """k: the client's keys are new; K: it asks for new ones of ours, too. Each line is one; 32 are free."""
    with Terminal(gateway, "-tls1_3") as client:
        assert client.read_until(b"250 ")
        updates = 0
        while updates < 32:
            client.type(letter + b"\n")
            updates += 1
            assert client.read_until(b"KEYUPDATE", updates), client.shown
        client.type(b"noop\n")
        assert client.read_until(b"250 2.0.0"), client.shown
        assert "session_refused" not in gateway.stderr()
        client.type(letter + b"\n")
        assert client.read_until(b"421 4.7.0 too many TLS messages without data"), client.shown
        assert not client.read_until(b"never")
    harness.wait_for("the session's end is logged", lambda: re.search(
        r" session_refused .*reason=\"the peer sent too many TLS messages without data\"", gateway.stderr()))
    smtp.submit(gateway.address(), "a@sender.test", "bob@good.test", harness.message())


def cut(client, how):
    """End the TCP connection under TLS: without close_notify, or by a reset."""
    plain = socket.socket(fileno=client.socket.detach())
    if how == "reset":
        plain.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    plain.close()


@pytest.mark.parametrize("how", ["end", "reset"])
@pytest.mark.parametrize("version", ["1.2", "1.3"])
def test_8_22_data_that_was_cut_is_no_mail(make_gateway, sink, how, version):
    """Whoever cuts a TLS connection between two records leaves what looks like a shorter mail, but for its end."""
    gateway = make_gateway(next_hop=sink.address)
    for last in (b"whole lines\r\n", b"and a dot\r\n.", b"and a dot\r\n.\r"):
        with smtp.Client(gateway.address()) as c:
            c.ehlo()
            c.expect("STARTTLS", 220)
            c.socket = client_context(version).wrap_socket(c.socket)
            c.ehlo()
            c.envelope("cut@sender.test")
            c.expect("DATA", 354)
            c.send(harness.message())
            c.send(last)
            cut(c, how)
    harness.wait_for("they are interrupted", lambda: gateway.stderr().count(" data_interrupted ") == 3)
    for chunk in (b"BDAT 100\r\nwhole lines\r\n", b"BDAT 100 LAST\r\nwhole lines\r\n", b"BDAT 13\r\nwhole lines\r\n"):
        with smtp.Client(gateway.address()) as c:
            c.ehlo()
            c.expect("STARTTLS", 220)
            c.socket = client_context(version).wrap_socket(c.socket)
            c.ehlo()
            c.envelope("cut@sender.test")
            c.send(chunk)
            cut(c, how)
    harness.wait_for("all have ended", lambda: gateway.stderr().count(" session_end ") == 6)
    assert gateway.track(sender="cut@sender.test") == []
    assert " mail_accepted " not in gateway.stderr()


def client_context(version):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    context.minimum_version = context.maximum_version = {"1.2": ssl.TLSVersion.TLSv1_2, "1.3": ssl.TLSVersion.TLSv1_3}[version]
    return context


@pytest.mark.parametrize("role", ["master", "front", "keys"])
def test_8_18_nothing_starts_without_random_numbers(make_gateway, sink, role):
    """A role that has none ends before it makes a key, and again when it is started again; nobody is greeted."""
    gateway = make_gateway(harness.settings(next_hop=sink.address), start=False)
    broken = faults.Faults(gateway)
    broken.set([f"{role} random * {errno.EIO}", f"{role} open /random$ {errno.EIO}", f"{role} open /urandom$ {errno.EIO}"])
    gateway.start(wait=False)
    harness.wait_for("it is said", lambda: "the system gives no random numbers" in gateway.stderr())
    assert {hit.split()[0] for hit in broken.hits()} == {role}
    if role == "master":
        assert gateway.wait_end() == 1
        assert not (gateway.folder / "state").exists() and " started " not in gateway.stderr()
        broken.clear()
        gateway.start()
        return
    assert gateway.wait_end() == 1


def offered(gateway, *options):
    """What s_client says of a handshake with these options; None when there was none."""
    said = s_client(gateway, *options, words="quit\n")
    return said if re.search(r"^New, TLS|^New, SSL", said, re.M) else None


def rsa_gateway(make_gateway, sink, **more):
    configuration = harness.settings(next_hop=sink.address, **more)
    configuration["listeners"][0]["certificate"] = "rsa"
    configuration["certificates"].append({"name": "rsa", "chain": "pki/rsa.pem", "key": "pki/rsa.key"})
    gateway = make_gateway(configuration, start=False)
    make_rsa(gateway.folder / "pki")
    return gateway


def test_8_14_what_a_listener_takes_by_default(make_gateway, sink):
    """The rest of the statement is what the scanners of test_scanners.py find, and the profiles of test_tls_profiles.py."""
    gateway = rsa_gateway(make_gateway, sink).start()
    weak = "ALL:COMPLEMENTOFALL:@SECLEVEL=0"
    for version, taken in (("-tls1", False), ("-tls1_1", False), ("-tls1_2", True), ("-tls1_3", True)):
        said = offered(gateway, version, "-cipher", weak)
        assert (said is not None) == taken, version
        if taken:
            assert "Compression: NONE" in said and "Expansion: NONE" in said, said
    for ciphers in ("aNULL", "eNULL", "kRSA", "DHE", "CAMELLIA", "ARIA", "AESCCM", "SHA1", "SHA256", "PSK", "SRP"):
        assert offered(gateway, "-tls1_2", "-cipher", ciphers + ":@SECLEVEL=0") is None, ciphers
    for mine in ("ECDHE+CHACHA20:ECDHE+AES128:ECDHE+AES256", "ECDHE+AES128:ECDHE+AES256"):
        assert "AES256-GCM-SHA384" in offered(gateway, "-tls1_2", "-cipher", mine), "the server's order counts"
    for group, taken in (("X25519", True), ("P-256", True), ("P-384", True), ("secp224r1", False), ("prime192v1", False), ("secp256k1", False),
            ("brainpoolP256r1", False)):
        assert (offered(gateway, "-tls1_2", "-groups", group, "-cipher", "ALL:@SECLEVEL=0") is not None) == taken, group


def test_8_14_dhe_has_2048_bits_at_least_where_a_profile_names_it(make_gateway, sink):
    gateway = rsa_gateway(make_gateway, sink, tls_profiles=[{"name": "dhe", "ciphers": "DHE+AESGCM"}])
    gateway.configure(gateway.file.read_text().replace("certificate: rsa", "certificate: rsa\n    tls_profile: dhe"))
    gateway.start()
    said = offered(gateway, "-tls1_2", "-cipher", "DHE:@SECLEVEL=0")
    assert int(re.search(r"Server Temp Key: DH, (\d+) bits", said).group(1)) >= 2048, said
