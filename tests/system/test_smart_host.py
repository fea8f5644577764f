"""Smart hosts: TLS from the first byte, credentials only for a verified server, resumption. Conformance 2.12 to 2.18 as far as they are built."""

import base64
import contextlib
import os
import pathlib
import re

import pytest

import dns
import harness
import peer as scripted
import smtp
from test_clients import as_root, exim_binary, exim_user  # noqa: F401 (fixtures)
from test_peers import make_exim  # noqa: F401 (a fixture)

USER, PASSWORD = "gateway@good.test", "correct horse battery"
SECRETS = [PASSWORD, *(base64.b64encode(x).decode() for x in (PASSWORD.encode(), f"\0{USER}\0{PASSWORD}".encode()))]
AUTH = {"offers": ("PIPELINING", "AUTH PLAIN LOGIN")}


@pytest.fixture
def names():
    """The smart host's certificate is for gw.good.test (and localhost, 127.0.0.1); `other` is the same server under another name."""
    with dns.Server({"good.test": dns.Zone("gw A 127.0.0.1\nother A 127.0.0.1")}) as server:
        yield server.settings()


@pytest.fixture
def start(make_gateway, names):
    """start(peer, host=..., **route) -> a gateway whose mail all goes to this smart host, with credentials unless username=None."""
    def make(peer, host="gw.good.test", configuration={}, **route):
        rule = {"domain": "default", "next_hop": f"{host}:{peer.port}", "username": USER, "password_file": "secret", **route}
        if rule["username"] is None:
            del rule["username"], rule["password_file"]
        settings = harness.settings(**{"hostname": "out.good.test", "dns": names, "routes": [rule], "delivery": {"retry": ["1h"]},
            "log": {"level": "debug"}, **configuration})
        gateway = make_gateway(settings, start=False)
        write(gateway)
        return gateway.start()
    return make


def write(gateway, password=PASSWORD, mode=0o600):
    path = gateway.folder / "secret"
    path.write_text(password + "\n")
    path.chmod(mode)


def send(gateway, sender="alice@sender.test"):
    return smtp.submit(gateway.address(), sender, "bob@good.test", harness.message())


def attempt_of(record):
    return record["recipients"][0]["attempts"][-1]


def no_secret(gateway):
    """Neither log, nor tracking, nor what any command shows, nor the store."""
    shown = [gateway.stderr(), str(gateway.track()), gateway.command("config", "show").stdout, str(gateway.status())]
    shown += [path.read_bytes().decode("latin-1") for path in pathlib.Path(gateway.folder).rglob("*")
        if path.is_file() and path.name != "secret"]
    for text in shown:
        assert not any(secret in text for secret in SECRETS)


@pytest.mark.parametrize("offers", [("AUTH PLAIN LOGIN",), ("AUTH LOGIN",), ("AUTH CRAM-MD5 PLAIN",)], ids=["PLAIN", "LOGIN", "only_PLAIN"])
@pytest.mark.parametrize("host", ["gw.good.test", "127.0.0.1"])
def test_2_12_2_18_credentials_go_to_a_verified_server(start, make_peer, offers, host):
    peer = make_peer(offers=offers)
    gateway = start(peer, host)
    send(gateway)
    attempt = attempt_of(gateway.tracked("delivered", sender="alice@sender.test"))
    assert (attempt["tls"]["desired"], attempt["tls"]["obtained"]) == ("required-verify", "verified")
    assert "certificate was verified" in attempt["tls"]["reason"]
    session, = peer.sessions
    assert session.account == (USER, PASSWORD)
    assert session.sni == (host if "good" in host else None), "2.18: never an address"
    assert not session.said_in_clear("AUTH")
    no_secret(gateway)


# What the smart host is like -> what the reply says. Nothing of the account may have been sent.
UNFIT = {
    "wrong_name": ({}, {"host": "other.good.test"}, "certificate was not accepted: hostname mismatch"),
    "wrong_address": ({"address": ("127.0.0.2", 0)}, {"host": "127.0.0.2"}, "certificate was not accepted: IP address mismatch"),
    "no_STARTTLS": ({"starttls": "absent"}, {}, "does not offer STARTTLS"),
    "STARTTLS_refused": ({"starttls": "refused"}, {}, "refused STARTTLS"),
    "no_ESMTP": ({"esmtp": False}, {}, "does not speak ESMTP"),
    "broken_handshake": ({"starttls": "broken"}, {}, "handshake failed"),
}


@pytest.mark.parametrize("what", UNFIT)
@pytest.mark.parametrize("level", ["preferred", "required"])
def test_2_12_2_13_no_credentials_for_an_unverified_server(start, make_peer, what, level):
    options, route, reason = UNFIT[what]
    peer = make_peer(**{**AUTH, **options})
    gateway = start(peer, configuration={"destinations": [{"domain": "default", "tls": level}]}, **route)
    send(gateway)
    attempt = attempt_of(gateway.tracked("deferred", sender="alice@sender.test"))
    says = "TLS is required by destination `default`" if level == "required" else "credentials are sent only to a verified server"
    assert attempt["reply"].startswith(f"450 4.7.5 TLS: {says}; ")  # F1: the destination's word comes first
    assert "credentials are sent only to a verified server" in [demand["reason"] for demand in attempt["tls"]["policy"]["demands"]]
    assert reason in attempt["reply"], attempt["reply"]
    for session in peer.sessions:
        assert session.account is None and not {"AUTH", "MAIL"} & set(session.verbs())
    no_secret(gateway)


def test_2_12_no_credentials_for_a_certificate_of_a_strange_authority(start, tmp_path):
    with scripted.Peer(harness.Pki(tmp_path / "strange"), **AUTH) as peer:
        gateway = start(peer)
        send(gateway)
        attempt = attempt_of(gateway.tracked("deferred", sender="alice@sender.test"))
        assert "the certificate was not accepted: unable to get local issuer certificate" in attempt["reply"]
        assert peer.sessions[0].account is None
        assert re.search(r" tls_failed .*host=gw.good.test reason=", gateway.stderr())


@pytest.mark.parametrize("cn_fallback", [False, True])
@pytest.mark.parametrize("san,by_common_name", [("", True), ("subjectAltName=email:postmaster@good.test\n", True),
    ("subjectAltName=DNS:elsewhere.test\n", False)], ids=["no_names", "another_kind", "another_host"])
def test_8_03_8_04_the_common_name_counts_by_setting_only(start, tmp_path, san, by_common_name, cn_fallback):
    """The server's certificate has our host as its CN only."""
    pki = harness.Pki(tmp_path / "common")
    (pki.folder / "server.ext").write_text(san + "basicConstraints=critical,CA:false\n")
    pki._openssl("x509", "-req", "-in", "server.csr", "-CA", pki.ca, "-CAkey", "ca.key", "-CAcreateserial", "-days", 30, "-extfile",
        "server.ext", "-out", pki.server)
    with scripted.Peer(pki, **AUTH) as peer:
        gateway = start(peer, configuration={"tls": {"cn_fallback": cn_fallback}, "authorities": {"system": False, "custom": str(pki.ca)}})
        send(gateway)
        accepted = cn_fallback and by_common_name
        attempt = attempt_of(gateway.tracked("delivered" if accepted else "deferred", sender="alice@sender.test"))
        verification = attempt["tls"]["verification"]
        assert verification["result"] == ("verified" if accepted else "certificate-host-mismatch"), verification
        assert (peer.sessions[0].account is None) == (not accepted)


@pytest.mark.parametrize("fqdn", [False, True])
def test_B46_names_must_be_fully_qualified_where_that_is_asked_for(start, make_peer, fqdn):
    """The test certificate is also for `localhost`."""
    peer = make_peer(**AUTH)
    gateway = start(peer, configuration={"tls": {"fqdn_validation": fqdn}})
    send(gateway)
    attempt = attempt_of(gateway.tracked("deferred" if fqdn else "delivered", sender="alice@sender.test"))
    verification = attempt["tls"]["verification"]
    if fqdn:
        assert verification["result"] == "certificate-not-trusted"
        assert "`localhost` in the certificate is no fully qualified name" in verification["reason"]
        assert "names" in verification["checked"] and verification["unchecked"] == ["fqdn"]
    else:
        assert verification["result"] == "verified" and "fqdn" not in verification["checked"]


def test_a_server_without_AUTH(start, make_peer):
    peer = make_peer(offers=("AUTH GSSAPI",))
    gateway = start(peer)
    send(gateway)
    attempt = attempt_of(gateway.tracked("deferred", sender="alice@sender.test"))
    assert attempt["reply"] == "450 4.7.0 the server offers neither AUTH PLAIN nor AUTH LOGIN"
    assert "MAIL" not in peer.sessions[0].verbs()


@pytest.mark.parametrize("said,reply", [
    ("535 5.7.8 wrong", "450 4.7.8 the server refused the credentials: 535 5.7.8 wrong"),
    ("454 4.7.0 later", "450 4.7.8 the server refused the credentials: 454 4.7.0 later"),
    (f"535 5.7.8 not {SECRETS[2]} here", "450 4.7.8 the server refused the credentials: 535 (its words held the credentials)"),
    (f"535 5.7.8 not {PASSWORD} here", "450 4.7.8 the server refused the credentials: 535 (its words held the credentials)"),
], ids=["535", "454", "echoes_base64", "echoes_the_password"])
def test_refused_credentials_defer_and_alarm(start, make_peer, said, reply):
    """Not a bounce: the operator can mend it. One try an attempt."""
    peer = make_peer(auth=said, **AUTH)
    gateway = start(peer)
    send(gateway)
    attempt = attempt_of(gateway.tracked("deferred", sender="alice@sender.test"))
    assert attempt["reply"] == reply
    assert len(peer.sessions) == 1 and "MAIL" not in peer.sessions[0].verbs()
    assert re.search(rf" error deliver auth_failed dcid=\S+ destination=gw.good.test:{peer.port} host=gw.good.test address=127.0.0.1:{peer.port} "
        rf"username={USER} reason=\"4.7.8 ", gateway.stderr())
    no_secret(gateway)


def test_refused_credentials_are_not_tried_at_the_next_address(make_gateway, make_peer):
    """Servers count failures, and lock accounts."""
    one = make_peer(address=("127.0.0.2", 0), auth="535 5.7.8 wrong", **AUTH)
    two = make_peer(address=("127.0.0.3", one.port), auth="535 5.7.8 wrong", **AUTH)
    with dns.Server({"good.test": dns.Zone("gw A 127.0.0.2\ngw A 127.0.0.3")}) as server:
        rule = {"domain": "default", "next_hop": f"gw.good.test:{one.port}", "username": USER, "password_file": "secret"}
        gateway = make_gateway(harness.settings(hostname="out.good.test", dns=server.settings(), routes=[rule], delivery={"retry": ["1h"]}),
            start=False)
        write(gateway)
        gateway.start()
        send(gateway)
        gateway.tracked("deferred", sender="alice@sender.test")
        assert len(one.sessions) + len(two.sessions) == 1


def test_a_new_password_is_used_after_a_reload(start, make_peer):
    peer = make_peer(**AUTH)
    gateway = start(peer)
    send(gateway)
    gateway.tracked("delivered", sender="alice@sender.test")
    write(gateway, "another one")
    assert gateway.command("reload").returncode == 0
    send(gateway, "carol@sender.test")
    gateway.tracked("delivered", sender="carol@sender.test")
    assert [s.account for s in peer.sessions] == [(USER, PASSWORD), (USER, "another one")]


def test_a_mail_that_is_sent_elsewhere_leaves_the_demands_and_the_account_of_its_route(start, make_peer):
    """`queue reroute` to a server that could not be verified, and that must not hear the credentials."""
    gateway = start(make_peer(starttls="absent"))
    send(gateway)
    gateway.tracked("deferred", sender="alice@sender.test")
    elsewhere = make_peer(starttls="absent", **AUTH)
    done = gateway.command("queue", "reroute", "--all", "--to", elsewhere.address, "--yes")
    assert done.returncode == 0, done.stderr
    attempt = attempt_of(gateway.tracked("delivered", sender="alice@sender.test"))
    assert attempt["tls"]["desired"] == "preferred"
    assert elsewhere.sessions[-1].account is None and "AUTH" not in elsewhere.sessions[-1].verbs()
    no_secret(gateway)


@pytest.mark.parametrize("mode,word", [(0o644, "lets everybody read"), (0o660, "lets its group change")])
def test_a_password_that_others_can_read_is_refused(start, make_peer, mode, word):
    gateway = start(make_peer(**AUTH))
    write(gateway, mode=mode)
    for command in ("check", "reload"):
        done = gateway.command(command)
        assert done.returncode == 1 and word in done.stdout + done.stderr
        assert "routes[default].password_file" in done.stdout + done.stderr


@pytest.mark.skipif(os.geteuid() != 0, reason="the memory of other processes is for root to read")
def test_only_deliver_gets_the_password(start, make_peer):
    """No other role has it in its memory; master keeps the generation."""
    peer = make_peer(**AUTH)
    gateway = start(peer)
    send(gateway)
    gateway.tracked("delivered", sender="alice@sender.test")
    holders = {name for name, role in gateway.roles().items() if in_memory(role["pid"], PASSWORD.encode())}
    assert holders == {"master", "deliver"}


def in_memory(pid, secret):
    """`secret` stands anywhere in the memory of a process (the vast shadow maps of sanitizers aside)."""
    with open(f"/proc/{pid}/maps") as maps, open(f"/proc/{pid}/mem", "rb", 0) as memory:
        for line in maps:
            start, end = (int(x, 16) for x in line.split()[0].split("-"))
            if line.split()[1][0] != "r" or end - start > 256 << 20:
                continue
            with contextlib.suppress(OSError, ValueError):
                memory.seek(start)
                if secret in memory.read(end - start):
                    return True
    return False


# TLS from the first byte


def test_implicit_tls(start, make_peer):
    peer = make_peer(implicit_tls=True, starttls="absent")
    gateway = start(peer, username=None, implicit_tls=True)
    send(gateway)
    attempt = attempt_of(gateway.tracked("delivered", sender="alice@sender.test"))
    assert (attempt["tls"]["desired"], attempt["tls"]["obtained"]) == ("required", "encrypted")
    assert attempt["tls"]["reason"].startswith("the route uses TLS from the first byte")
    session, = peer.sessions
    assert session.verbs()[0] == "EHLO" and "STARTTLS" not in session.verbs()
    assert not session.said_in_clear("EHLO")


def test_implicit_tls_with_credentials(start, make_peer):
    peer = make_peer(implicit_tls=True, starttls="absent", **AUTH)
    gateway = start(peer, implicit_tls=True)
    send(gateway)
    gateway.tracked("delivered", sender="alice@sender.test")
    assert peer.sessions[0].account == (USER, PASSWORD)


def test_2_13_a_server_that_speaks_in_clear_gets_nothing(start, make_peer):
    peer = make_peer()
    gateway = start(peer, username=None, implicit_tls=True)
    send(gateway)
    attempt = attempt_of(gateway.tracked("deferred", sender="alice@sender.test"))
    assert attempt["reply"].startswith("450 4.7.5 TLS: the route uses TLS from the first byte; the TLS handshake failed")
    assert not any(session.said_in_clear(verb) for session in peer.sessions for verb in ("EHLO", "HELO", "MAIL"))


# Resumption


def sessions_of(gateway, peer, count, sender="alice@sender.test"):
    """Deliver mail until the peer has seen `count` connections, each closed before the next; what was tracked, in order."""
    for n in range(count):
        send(gateway, f"{n}.{sender}")
        gateway.tracked("delivered", sender=f"{n}.{sender}")
        harness.wait_for("the connection was closed", lambda: gateway.stderr().count(" delivery_closed ") > n)
    return [attempt_of(gateway.track(sender=f"{n}.{sender}")[0])["tls"] for n in range(count)]


@pytest.mark.parametrize("options", [{}, {"username": None}], ids=["verified", "not_verified"])
def test_2_16_the_second_connection_resumes(start, make_peer, options):
    peer = make_peer(**AUTH)
    gateway = start(peer, **options)
    evidence = sessions_of(gateway, peer, 3)
    assert [e["resumed"] for e in evidence] == [False, True, True]
    assert [s.resumed for s in peer.sessions] == [False, True, True]
    assert len({(e["obtained"], e["peer"]["sha256"]) for e in evidence}) == 1, "resumed, it is still known who that was"


@pytest.mark.parametrize("domain, resumed", [("gw.good.test", True), ("other.test", False)], ids=["verified", "not_verified"])
def test_2_16_preferred_verify_resumes_only_what_was_verified(make_gateway, make_peer, names, domain, resumed):
    peer = make_peer()
    gateway = make_gateway(harness.settings(hostname="out.good.test", dns=names, delivery={"retry": ["1h"]}, accepted_domains=[domain],
        routes=[{"domain": domain, "next_hop": f"gw.good.test:{peer.port}"}], destinations=[{"domain": domain, "tls": "preferred-verify"}]))
    for n in range(2):
        smtp.submit(gateway.address(), f"{n}@sender.test", f"bob@{domain}", harness.message())
        tls = attempt_of(gateway.tracked("delivered", sender=f"{n}@sender.test"))["tls"]
        assert tls["obtained"] == ("verified" if resumed else "encrypted"), tls
        harness.wait_for("the connection was closed", lambda: gateway.stderr().count(" delivery_closed ") > n)
    assert [s.resumed for s in peer.sessions] == [False, resumed]


def test_2_16_a_session_is_not_taken_along_to_other_demands(make_gateway, make_peer, names):
    """One server, three routes: without verification, with it, and under a name that its certificate does not have."""
    peer = make_peer(**AUTH)
    account = {"username": USER, "password_file": "secret"}
    routes = [
        {"domain": "a.test", "next_hop": f"gw.good.test:{peer.port}"},
        {"domain": "b.test", "next_hop": f"gw.good.test:{peer.port}", **account},
        {"domain": "c.test", "next_hop": f"other.good.test:{peer.port}", **account},
    ]
    gateway = make_gateway(harness.settings(hostname="out.good.test", dns=names, routes=routes, delivery={"retry": ["1h"]},
        accepted_domains=["a.test", "b.test", "c.test"]), start=False)
    write(gateway)
    gateway.start()
    closed = 0
    for domain, state, resumed in (("a", "delivered", False), ("a", "delivered", True), ("b", "delivered", False), ("c", "deferred", False),
            ("b", "delivered", True)):
        sender = f"{closed}@sender.test"
        smtp.submit(gateway.address(), sender, f"bob@{domain}.test", harness.message())
        tls = attempt_of(gateway.tracked(state, sender=sender))["tls"]
        assert tls["resumed"] == resumed, (domain, tls)
        closed += 1
        harness.wait_for("the connection was closed",
            lambda: gateway.stderr().count(" delivery_closed ") + gateway.stderr().count(" delivery_connect_failed ") >= closed)
    assert [s.account for s in peer.sessions if s.sni == "other.good.test"] == [None]


# Exim as the smart host


def authenticator(mechanism, prompts, user, password):
    """One account; for any other name the answer is neither yes nor no, which is a temporary error."""
    return (f"begin authenticators\n{mechanism}:\n  driver = plaintext\n  public_name = {mechanism}\n  server_prompts = {prompts}\n"
        f"  server_condition = ${{if eq{{{user}}}{{{USER}}}{{${{if eq{{{password}}}{{{PASSWORD}}}}}}}{{the accounts cannot be read}}}}\n"
        f"  server_set_id = {user}\n")


MECHANISMS = {
    "PLAIN": authenticator("PLAIN", ":", "$auth2", "$auth3"),
    "LOGIN": authenticator("LOGIN", "Username:: : Password::", "$auth1", "$auth2"),
}
OPEN_TO_ACCOUNTS = {"domainlist local_domains": "*", "acl_smtp_mail": "${{if def:authenticated_id{{accept}}{{deny}}}}",
    "log_selector": "+tls_cipher +tls_sni +smtp_connection +smtp_no_mail +smtp_protocol_error"}


BEFORE_TLS = b"EHLO out.good.test\r\nSTARTTLS\r\n"


@as_root
@pytest.mark.parametrize("implicit", [False, True], ids=["STARTTLS", "implicit_TLS"])
@pytest.mark.parametrize("mechanism", MECHANISMS)
def test_2_12_2_18_exim_takes_mail_of_its_account_alone(start, make_exim, make_wiretap, pki, mechanism, implicit):  # noqa: F811
    second = int(harness.free_address().rsplit(":", 1)[1])
    exim = make_exim(sections=MECHANISMS[mechanism], daemon_smtp_ports=f"{{port}} : {second}", tls_on_connect_ports=second, **OPEN_TO_ACCOUNTS)
    tap = make_wiretap(("127.0.0.1", second if implicit else exim.port))
    gateway = start(tap, implicit_tls=implicit)
    send(gateway)
    attempt = attempt_of(gateway.tracked("delivered", sender="alice@sender.test"))
    assert (attempt["tls"]["obtained"], attempt["tls"]["peer"]["sha256"]) == ("verified", pki.fingerprint())
    exim.wait_mail(b"Subject: a test")
    assert re.search(rf" <= alice@sender\.test .* P=esmtpsa X=TLS1.* SNI=gw\.good\.test A={mechanism}:{USER} ", exim.log()), exim.log()
    assert tap.in_clear() == [b"" if implicit else BEFORE_TLS]
    no_secret(gateway)

    with smtp.Client(("127.0.0.1", exim.port)) as c:
        c.ehlo()
        assert c.do("MAIL FROM:<alice@sender.test>").code == 550, "without the account it takes nothing"


@as_root
@pytest.mark.parametrize("mechanism", MECHANISMS)
def test_2_12_exim_refuses_a_wrong_password_until_it_is_mended(start, make_exim, make_wiretap, mechanism):  # noqa: F811
    exim = make_exim(sections=MECHANISMS[mechanism], **OPEN_TO_ACCOUNTS)
    tap = make_wiretap(("127.0.0.1", exim.port))
    gateway = start(tap)
    write(gateway, "a wrong one")
    assert gateway.command("reload").returncode == 0
    send(gateway)
    attempt = attempt_of(gateway.tracked("deferred", sender="alice@sender.test"))
    assert attempt["reply"] == "450 4.7.8 the server refused the credentials: 535 Incorrect authentication data"
    assert re.search(rf" error deliver auth_failed .*username={USER} reason=\"4\.7\.8 ", gateway.stderr())
    harness.wait_for("Exim has logged it", lambda: " authenticator failed " in exim.log())
    assert (exim.run / "mainlog").read_text().count(" authenticator failed ") == 1, "servers count failures, and lock accounts"
    assert tap.in_clear() == [BEFORE_TLS] and b"wrong one" not in tap.said[0] and " <= " not in exim.log()
    for text in (gateway.stderr(), str(gateway.track())):
        assert not any(secret in text for secret in ("a wrong one", base64.b64encode(f"\0{USER}\0a wrong one".encode()).decode()))

    write(gateway)
    assert gateway.command("reload").returncode == 0
    assert gateway.command("queue", "flush", "--all").returncode == 0
    gateway.tracked("delivered", sender="alice@sender.test")
    exim.wait_mail(b"Subject: a test")
    assert tap.in_clear() == [BEFORE_TLS] * 2


@as_root
def test_exim_that_cannot_check_the_password_now_gets_the_mail_later(start, make_exim):  # noqa: F811
    exim = make_exim(sections=MECHANISMS["PLAIN"], **OPEN_TO_ACCOUNTS)
    gateway = start(exim, username="another@good.test")
    send(gateway)
    attempt = attempt_of(gateway.tracked("deferred", sender="alice@sender.test"))
    assert attempt["reply"].startswith("450 4.7.8 the server refused the credentials: 435 "), attempt
    assert " auth_failed " in gateway.stderr() and " <= " not in exim.log()


@as_root
@pytest.mark.parametrize("what", ["no_TLS", "other_name", "other_authority"])
def test_2_12_2_13_exim_hears_no_credentials_when_it_is_not_verified(start, make_exim, make_wiretap, tmp_path, pki, what):  # noqa: F811
    """It offers AUTH in clear, too, and would take it."""
    options = {"tls_advertise_hosts": ":"} if what == "no_TLS" else {}
    if what == "other_authority":
        strange = harness.Pki(tmp_path / "strange")
        options |= {"tls_certificate": "{run}/chain.pem", "tls_privatekey": "{run}/chain.pem"}
    exim = make_exim(sections=MECHANISMS["PLAIN"], **OPEN_TO_ACCOUNTS, **options)
    if what == "other_authority":
        (exim.run / "chain.pem").write_text(strange.server.read_text() + strange.key.read_text())
    tap = make_wiretap(("127.0.0.1", exim.port))
    gateway = start(tap, "other.good.test" if what == "other_name" else "gw.good.test")
    send(gateway)
    attempt = attempt_of(gateway.tracked("deferred", sender="alice@sender.test"))
    assert attempt["reply"].startswith("450 4.7.5 TLS: credentials are sent only to a verified server; "), attempt
    assert {"no_TLS": "does not offer STARTTLS", "other_name": "hostname mismatch", "other_authority": "unable to get local issuer certificate"}[what] \
        in attempt["reply"]
    assert all(b"AUTH" not in said and b"MAIL" not in said for said in tap.said) and len(tap.said) == 1
    assert " A=" not in exim.log() and " authenticator failed " not in exim.log() and " <= " not in exim.log()
    no_secret(gateway)


@as_root
def test_2_12_the_example_delivers_to_exim(make_gateway, make_exim, names):  # noqa: F811
    exim = make_exim(sections=MECHANISMS["PLAIN"], **OPEN_TO_ACCOUNTS)
    text = (harness.ROOT / "examples/smart_host.yaml").read_text()
    for old, new in (("127.0.0.1:2525", "127.0.0.1:0"), ("smtp.provider.test:587", f"gw.good.test:{exim.port}")):
        assert text.count(old) == 1
        text = text.replace(old, new)
    gateway = make_gateway(text + harness.to_yaml({"dns": names}) + "\n", start=False)
    password = gateway.folder / "smart_host.password"
    password.write_text(PASSWORD + "\n")
    password.chmod(0o600)
    gateway.start()
    smtp.submit(gateway.address("inside"), "alice@good.test", "bob@elsewhere.test", harness.message())
    attempt = attempt_of(gateway.tracked("delivered", sender="alice@good.test"))
    assert (attempt["tls"]["desired"], attempt["tls"]["obtained"]) == ("required-verify", "verified")
    exim.wait_mail(b"Subject: a test")
    assert f" A=PLAIN:{USER} " in exim.log()
