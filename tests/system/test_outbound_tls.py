"""How deliveries obey: six levels against every kind of server, DANE, the lists, and what the record says of it. Requirements B36-B59, B81, C5-C13, F1-F8;
conformance 2.13-2.18, 2.35, 3.01-3.38."""

import collections
import contextlib
import hashlib
import subprocess
import types

import pytest

import crl
import dns
import harness
import smtp
from test_hosts import make_dns, outward, servers  # noqa: F401 (fixtures)

LEVELS = ["none", "preferred", "required", "preferred-verify", "required-verify", "required-verify-hosted"]
Kind = collections.namedtuple("Kind", "options certificate")
# What the server is like, and what its certificate says; `mx` is its name in its zone.
KINDS = {
    "noesmtp": Kind({"esmtp": False}, None),
    "absent": Kind({"starttls": "absent"}, None),
    "refused": Kind({"starttls": "refused"}, None),
    "broken": Kind({"starttls": "broken"}, None),
    "fine": Kind({}, {"names": ["*.fine.test"]}),
    "host": Kind({}, {"names": ["mx.host.test"]}),
    "another": Kind({}, {"names": ["mx.else.test"]}),
    "strange": Kind({}, {"names": ["*.strange.test"], "ours": False}),
    "expired": Kind({}, {"names": ["*.expired.test"], "days": (-30, -2)}),
}
BEFORE_220 = {"noesmtp": "does not speak ESMTP", "absent": "does not offer STARTTLS", "refused": "refused STARTTLS"}
FLAWS = {"host": "certificate-host-mismatch", "another": "certificate-host-mismatch", "strange": "certificate-not-trusted",
    "expired": "certificate-expired"}


def make_certificate(pki, name, names, ours=True, days=(-1, 30)):
    """A certificate as scripted.Peer wants it: by our authority, or by itself."""
    folder = pki.folder
    pki._openssl("req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-keyout", f"{name}.key", "-out", f"{name}.csr",
        "-subj", "/CN=server", "-addext", "subjectAltName=" + ",".join(f"DNS:{n}" for n in names))
    chain = harness.sign_dated(folder, f"{name}.csr", f"{name}.pem", *days, "ca.key" if ours else f"{name}.key", pki.ca if ours else None)
    return types.SimpleNamespace(server=chain, key=folder / f"{name}.key")


def tlsa(certificate, usage=3):
    """`3 1 1` of this certificate."""
    key = subprocess.run(["openssl", "x509", "-in", str(certificate.server), "-noout", "-pubkey"], capture_output=True, check=True).stdout
    der = subprocess.run(["openssl", "pkey", "-pubin", "-outform", "DER"], input=key, capture_output=True, check=True).stdout
    return f"TLSA {usage} 1 1 {hashlib.sha256(der).hexdigest()}"


@pytest.fixture
def own_pki(tmp_path):
    return harness.Pki(tmp_path / "own")


def send(gateway, domain, sender):
    smtp.submit(gateway.address(), sender, f"bob@{domain}", harness.message())


def attempts(gateway, state, sender):
    return gateway.tracked(state, sender=sender)["recipients"][0]["attempts"]


def expected(level, kind):
    """(state, obtained) of table B59."""
    number = LEVELS.index(level) + 1
    if number == 1:
        return "delivered", "none"
    if kind in BEFORE_220:
        return ("delivered" if number in (2, 4) else "deferred"), "none"
    if kind == "broken":
        return "deferred", "none"
    if number in (2, 3):
        return "delivered", "encrypted"
    if kind == "fine" or (kind == "host" and number == 6):
        return "delivered", "verified"
    return ("delivered" if number == 4 else "deferred"), "encrypted"


def test_B59_3_03_every_level_against_every_kind_of_server(make_gateway, servers, make_dns, own_pki):
    pki = {name: own_pki if kind.certificate is None else make_certificate(own_pki, name, **kind.certificate) for name, kind in KINDS.items()}
    addresses = {f"127.0.1.{n}": {"pki": pki[name], **kind.options} for n, (name, kind) in enumerate(KINDS.items(), 1)}
    port, peers = servers(addresses)
    zones = {f"{name}.test": f"* MX 10 mx\nmx A 127.0.1.{n}" for n, name in enumerate(KINDS, 1)}
    gateway = make_gateway(outward(port, make_dns(zones), authorities={"system": False, "custom": str(own_pki.ca)},
        destinations=[{"domain": f"{level}.{name}.test", "tls": level} for level in LEVELS for name in KINDS]))
    for level in LEVELS:
        for name in KINDS:
            send(gateway, f"{level}.{name}.test", f"{level}@{name}.sender.test")
    for number, (name, peer) in enumerate(zip(KINDS, peers)):
        for level in LEVELS:
            state, obtained = expected(level, name)
            attempt = attempts(gateway, state, f"{level}@{name}.sender.test")[-1]
            evidence = attempt["tls"]
            case = (level, name, attempt["reply"], evidence)
            assert evidence["obtained"] == (obtained if state == "delivered" else evidence["obtained"]), case
            assert evidence["obtained"] != "verified" or state == "delivered", case
            if state == "deferred":
                assert attempt["reply"].startswith("450 4.7.5 TLS: "), case
                assert evidence["reason"] in attempt["reply"], case
            if level != "none" and name in BEFORE_220:
                assert BEFORE_220[name] in evidence["reason"], case
                assert evidence["connection"]["passed"] == [], case
            if name in FLAWS and LEVELS.index(level) in (3, 4) or (name in FLAWS and level.endswith("hosted") and name != "host"):
                assert evidence["verification"]["result"] == FLAWS[name], case
                assert evidence["verification"]["reason"] in evidence["reason"] or "unable" in evidence["reason"], case
            if name in FLAWS and level in ("preferred", "required"):
                assert evidence["verification"] is None, case
                assert evidence["checks"]["domain"]["result"] == FLAWS[name], case
            assert evidence["facts"]["level"] == level and evidence["facts"]["dane"]["finding"] == "absent" or level == "none", case
        in_clear = {line.split("@")[0] for message in peer.messages if not message.tls for line in [message.sender]}
        assert in_clear == {level for level in LEVELS if expected(level, name) == ("delivered", "none")}, name
    log = gateway.stderr()
    assert log.count(" tls_unverified ") == 4, "level 4, once for each flaw"
    assert "verified\n" not in [line for line in log.splitlines() if " tls_unverified " in line]
    none = [session for peer in peers for session in peer.sessions if any("none@" in line for line, _ in session.commands)]
    assert len(none) == len(KINDS) and not any("STARTTLS" in session.verbs() for session in none)


def test_B49_B50_the_name_of_the_address_counts_where_it_is_asked_for(make_gateway, servers, own_pki):
    """B49: the common name, at level 5; B50: a dNSName, at level 6. Nobody asks for it before the other names have failed, or for the record only."""
    by_name = make_certificate(own_pki, "ptr", ["rev.ptr.test"])
    own_pki._openssl("req", "-new", "-key", by_name.key, "-out", "cn.csr", "-subj", "/CN=rev.ptr.test")
    common = types.SimpleNamespace(server=harness.sign_dated(own_pki.folder, "cn.csr", "cn.pem", -1, 30, "ca.key", own_pki.ca), key=by_name.key)
    port, _ = servers({"127.0.1.1": {"pki": by_name}, "127.0.1.2": {"pki": common}})

    def change(question, answer):
        if question.type != "PTR":
            return answer
        return question.answer([dns.record(question.name, "PTR", dns.wire("rev.ptr.test"))])

    zones = {"name.test": dns.Zone("* MX 10 mx\nmx A 127.0.1.1"), "common.test": dns.Zone("* MX 10 mx\nmx A 127.0.1.2")}
    with dns.Server(zones) as server, dns.Watched(server, change) as watched:
        names = watched.settings()
        names["private_zones"] = [*names["private_zones"], "127.in-addr.arpa."]
        destinations = [{"domain": f"{level}.{zone}", "tls": level} for level in LEVELS for zone in zones]
        gateway = make_gateway(outward(port, names, authorities={"system": False, "custom": str(own_pki.ca)}, tls={"cn_fallback": True},
            destinations=destinations))
        for level in ("preferred", "required"):
            send(gateway, f"{level}.name.test", f"{level}@name.test")
            attempts(gateway, "delivered", f"{level}@name.test")
        assert not any(type == "PTR" for _, type in watched.asked)
        for level, zone, state in (("required-verify", "common.test", "delivered"), ("required-verify", "name.test", "deferred"),
                ("required-verify-hosted", "name.test", "delivered"), ("preferred-verify", "common.test", "delivered")):
            send(gateway, f"{level}.{zone}", f"{level}@{zone}")
            evidence = attempts(gateway, state, f"{level}@{zone}")[-1]["tls"]
            if state == "delivered":
                assert evidence["obtained"] == "verified" and evidence["verification"]["matched"] == "rev.ptr.test", evidence
        assert any(type == "PTR" for _, type in watched.asked)


class Dane:
    """A domain dane.test with two hosts, of which records and servers are as a test wants them."""

    def __init__(self, make_gateway, servers, pki, records="", setting="opportunistic", level="preferred", options=({}, {}), domain="dane.test",
            kind=dns.SIGNED, **more):
        self.certificates = [make_certificate(pki, f"dane{n}", [f"mx{n}.dane.test"], ours=False) for n in (1, 2)]
        self.port, self.peers = servers({f"127.0.1.{n}": {"pki": c, **o} for n, (c, o) in enumerate(zip(self.certificates, options), 1)})
        keys = {"good1": tlsa(self.certificates[0]), "good2": tlsa(self.certificates[1]), "bad": "TLSA 3 1 1 " + "00" * 32,
            "useless": "TLSA 1 1 1 " + "00" * 32, "port": self.port}
        text = "@ MX 10 mx1\n@ MX 20 mx2\nmx1 A 127.0.1.1\nmx2 A 127.0.1.2\n" + records.format(**keys)
        self.server = dns.Server({"dane.test": dns.Zone(text, kind)})
        self.make = lambda names: make_gateway(outward(self.port, names,
            destinations=[{"domain": "dane.test", "tls": level, "dane": setting}], **more))

    @contextlib.contextmanager
    def run(self):
        with self.server as server:
            self.gateway = self.make(server.settings())
            yield self.gateway

    def deliver(self, state, sender="a@sender.test"):
        send(self.gateway, "dane.test", sender)
        return attempts(self.gateway, state, sender)[-1]


BOTH = "_{port}._tcp.mx1 {good1}\n_{port}._tcp.mx2 {good2}\n"


@pytest.mark.parametrize("setting", ["opportunistic", "mandatory"])
def test_3_01_2_18_a_host_that_matches_its_records_is_verified(make_gateway, servers, own_pki, setting):
    """Self-signed, and nobody's authority is asked."""
    scene = Dane(make_gateway, servers, own_pki, BOTH, setting)
    with scene.run() as gateway:
        for n in range(2):
            attempt = scene.deliver("delivered", f"{n}@sender.test")
            evidence = attempt["tls"]
            assert (evidence["obtained"], evidence["verification"]["check"], evidence["verification"]["result"]) == ("verified", "dane", "verified")
            assert evidence["verification"]["matched"].startswith("3 1 1 "), evidence["verification"]
            assert evidence["connection"] == {"outcome": "up", "made": ["dane", "domain", "hosted"], "passed": ["dane"]}
            assert evidence["facts"]["dane"]["finding"] == "usable" and evidence["facts"]["dane"]["base"] == "mx1.dane.test"
            assert evidence["policy"]["decided_by"] == ("dane" if setting == "opportunistic" else "dane-mandatory")
        assert scene.peers[0].sessions[0].sni == "mx1.dane.test"
        assert " tls=verified " in gateway.stderr()


def test_3_34_a_host_that_fails_is_kept_when_the_next_one_takes_the_mail(make_gateway, servers, own_pki):
    scene = Dane(make_gateway, servers, own_pki, "_{port}._tcp.mx1 {bad}\n_{port}._tcp.mx2 {good2}\n")
    with scene.run() as gateway:
        attempt = scene.deliver("delivered")
        assert attempt["host"] == "mx2.dane.test" and attempt["tls"]["obtained"] == "verified"
        failed, = attempt["tls"]["earlier"]
        assert failed["host"] == "mx1.dane.test" and failed["dcid"] and failed["reply"].startswith("450 4.7.5 TLS: the host has TLSA records; ")
        assert failed["tls"]["connection"]["passed"] == [] and failed["tls"]["verification"]["check"] == "dane"
        assert " tls_failed " in gateway.stderr()
        shown = gateway.command("track").stdout
        assert "decided by dane; DANE opportunistic: usable" in shown and "before: mx1.dane.test 127.0.1.1:" in shown, shown
        assert not any("MAIL" in session.verbs() for session in scene.peers[0].sessions)


def test_3_33_all_hosts_fail_and_the_mail_waits(make_gateway, servers, own_pki):
    scene = Dane(make_gateway, servers, own_pki, "_{port}._tcp.mx1 {bad}\n_{port}._tcp.mx2 {bad}\n")
    with scene.run():
        attempt = scene.deliver("deferred")
        assert attempt["reply"].startswith("450 4.7.5 ") and len(attempt["tls"]["earlier"]) == 1
        assert not any("MAIL" in session.verbs() for peer in scene.peers for session in peer.sessions)


def test_3_38_audited_DANE_delivers_and_says_so(make_gateway, servers, own_pki):
    scene = Dane(make_gateway, servers, own_pki, "_{port}._tcp.mx1 {bad}\n", "audit")
    with scene.run() as gateway:
        evidence = scene.deliver("delivered")["tls"]
        assert evidence["obtained"] == "encrypted" and evidence["checks"]["dane"]["result"] != "verified"
        told, = [line for line in gateway.stderr().splitlines() if " tls_unverified " in line]
        assert " check=dane " in told
        assert evidence["reason"].endswith("; DANE is only watched: the certificate does not match the TLSA records"), evidence
        assert " tls=verified" not in gateway.stderr()


@pytest.mark.parametrize("starttls", ["absent", "refused", "broken"])
def test_3_01_B81_records_forbid_mail_in_clear(make_gateway, servers, own_pki, starttls):
    """C7: not even where a failed handshake would be retried without TLS."""
    scene = Dane(make_gateway, servers, own_pki, BOTH, options=({"starttls": starttls},) * 2, tls={"retry_without_tls": True})
    with scene.run() as gateway:
        assert scene.deliver("deferred")["reply"].startswith("450 4.7.5 TLS: the host has TLSA records; ")
        assert not any("MAIL" in session.verbs() for peer in scene.peers for session in peer.sessions)
        assert " tls_retry_without " not in gateway.stderr()


@pytest.mark.parametrize("setting,state,obtained", [("none", "delivered", "encrypted"), ("opportunistic", "delivered", "encrypted"),
    ("mandatory", "deferred", "none")])
def test_B81_3_02_no_record_is_usable(make_gateway, servers, own_pki, setting, state, obtained):
    scene = Dane(make_gateway, servers, own_pki, "_{port}._tcp.mx1 {useless}\n_{port}._tcp.mx2 {useless}\n", setting)
    with scene.run() as gateway:
        attempt = scene.deliver(state)
        assert attempt["tls"]["obtained"] == obtained
        if setting == "opportunistic":
            assert attempt["tls"]["desired"] == "required" and attempt["tls"]["facts"]["dane"]["finding"] == "unusable"
        if state == "deferred":
            assert "none of the host's TLSA records can be used" in attempt["reply"]
            assert gateway.stderr().count(" tls_host_skipped ") >= 2 and not any(peer.sessions for peer in scene.peers)
            assert attempt["tls"]["connection"] is None and attempt["dcid"] is None


def test_2_35_3_04_a_lookup_that_fails_holds_the_mail_and_is_not_remembered_as_none(make_gateway, servers, own_pki):
    scene = Dane(make_gateway, servers, own_pki, BOTH)
    broken = True

    def change(question, answer):
        return question.answer(code=2) if broken and question.type == "TLSA" else answer

    with scene.server as server, dns.Watched(server, change) as watched:
        scene.gateway = scene.make(watched.settings())
        attempt = scene.deliver("deferred")
        assert attempt["reply"] == "450 4.7.5 TLS: the host's TLSA records could not be looked up", attempt
        assert attempt["tls"]["facts"]["dane"]["why"] and not any(peer.sessions for peer in scene.peers)
        broken = False

        def delivered():
            scene.gateway.command("queue", "flush", "--all")
            return [r for r in scene.gateway.track(sender="a@sender.test") if r["recipients"][0]["state"] == "delivered"]
        record, = harness.wait_for("the mail, after the name server was mended", delivered)
        assert record["recipients"][0]["attempts"][-1]["tls"]["obtained"] == "verified"


# The lists


def simple(make_gateway, servers, make_dns, own_pki, level=None, options={}, **tls):
    """One host mx.a.test at 127.0.1.1."""
    port, (peer,) = servers({"127.0.1.1": {"pki": own_pki, **options}})
    names = make_dns({"a.test": "@ MX 10 mx\nmx A 127.0.1.1", "b.test": "@ MX 10 mx.a.test."})
    destinations = [{"domain": "a.test", "tls": level}] if level else None
    return make_gateway(outward(port, names, destinations=destinations, tls=tls, authorities={"system": False, "custom": str(own_pki.ca)})), peer


def test_2_12_C6_C13_row_10_a_failed_handshake_is_followed_by_mail_in_clear(make_gateway, servers, make_dns, own_pki):
    gateway, peer = simple(make_gateway, servers, make_dns, own_pki, options={"starttls": "broken"}, retry_without_tls=True)
    send(gateway, "a.test", "1@sender.test")
    attempt, = attempts(gateway, "delivered", "1@sender.test")
    assert attempt["tls"]["obtained"] == "none" and attempt["tls"]["policy"]["decided_by"] == "temporary-list"
    failed, = attempt["tls"]["earlier"]
    assert failed["tls"]["connection"]["outcome"] == "handshake-failed"
    send(gateway, "b.test", "2@sender.test")
    assert attempts(gateway, "delivered", "2@sender.test")[-1]["tls"]["facts"]["lists"]["temporary"] is True
    assert sum("STARTTLS" in session.verbs() for session in peer.sessions) == 1
    told, = [line for line in gateway.stderr().splitlines() if " tls_retry_without " in line]
    assert " address=127.0.1.1:" in told and "reason=" in told


def test_C6_the_list_outlives_a_reload_and_ends_with_its_switch(make_gateway, servers, make_dns, own_pki):
    gateway, peer = simple(make_gateway, servers, make_dns, own_pki, options={"starttls": "broken"}, retry_without_tls=True)
    send(gateway, "a.test", "1@sender.test")
    attempts(gateway, "delivered", "1@sender.test")
    listed = gateway.command("config", "show").stdout
    for n, (switch, state) in enumerate((("true", "delivered"), ("false", "deferred")), 2):
        gateway.configure(listed.replace("retry_without_tls: true", f"retry_without_tls: {switch}"))
        assert gateway.command("reload").returncode == 0
        send(gateway, "a.test", f"{n}@sender.test")
        evidence = attempts(gateway, state, f"{n}@sender.test")[-1]["tls"]
        assert evidence["facts"]["lists"]["temporary"] == (switch == "true"), evidence
    assert sum("STARTTLS" in session.verbs() for session in peer.sessions) == 2
    temporary = gateway.json("tls", "temporary")
    assert temporary["hosts"] == [] and temporary["on"] is False
    assert "tls.retry_without_tls is off" in gateway.command("tls", "temporary").stdout


def test_C13_row_9_without_the_switch_it_waits(make_gateway, servers, make_dns, own_pki):
    gateway, peer = simple(make_gateway, servers, make_dns, own_pki, options={"starttls": "broken"})
    send(gateway, "a.test", "1@sender.test")
    assert "handshake failed" in attempts(gateway, "deferred", "1@sender.test")[-1]["reply"]
    assert not peer.messages


@pytest.mark.parametrize("level,listed", [("required", []), ("required-verify", []), (None, ["127.0.1.0/24"]), (None, ["mx.a.test"])])
def test_C7_C11_what_must_be_in_TLS_never_goes_in_clear(make_gateway, servers, make_dns, own_pki, level, listed):
    """Not even after mail that may has put the host on the temporary list."""
    gateway, peer = simple(make_gateway, servers, make_dns, own_pki, level, {"starttls": "broken"}, retry_without_tls=True,
        starttls_required=listed)
    if not listed:
        send(gateway, "b.test", "b@sender.test")
        attempts(gateway, "delivered", "b@sender.test")
    send(gateway, "a.test", "a@sender.test")
    assert attempts(gateway, "deferred", "a@sender.test")[-1]["reply"].startswith("450 4.7.5 ")
    assert [message.sender for message in peer.messages] == ([] if listed else ["b@sender.test"])


@pytest.mark.parametrize("entry,names", [("127.0.1.1", "address"), ("127.0.1.0/24", "address"), ("mx.a.test", "host"), (".test", "host"),
    ("a.test", "domain")])
def test_C8_C10_hosts_on_the_allow_list_never_see_STARTTLS(make_gateway, servers, make_dns, own_pki, entry, names):
    gateway, peer = simple(make_gateway, servers, make_dns, own_pki, starttls_never=[entry])
    send(gateway, "a.test", "1@sender.test")
    evidence = attempts(gateway, "delivered", "1@sender.test")[-1]["tls"]
    assert evidence["obtained"] == "none" and evidence["policy"]["decided_by"] == "allow-list"
    assert "STARTTLS" not in peer.sessions[0].verbs()
    lists = evidence["facts"]["lists"]
    assert (lists["never_by"], lists["required_by"]) == ({"entry": entry, "names": names}, None)
    said = {"address": "host's address", "host": "host", "domain": "recipient's domain"}[names] + f" is listed in tls.starttls_never as `{entry}`"
    for command in (["explain", "a.test"], ["track"]):
        assert said in gateway.command(*command).stdout, command


def test_F2_demands_that_exclude_each_other_deliver_nothing_and_alarm_once(make_gateway, servers, make_dns, own_pki):
    gateway, peer = simple(make_gateway, servers, make_dns, own_pki, "required", starttls_never=["mx.a.test"])
    for n in range(3):
        send(gateway, "a.test", f"{n}@sender.test")
        assert attempts(gateway, "deferred", f"{n}@sender.test")[-1]["reply"] == (
            "450 4.7.5 TLS: TLS is required for this destination, but the host is listed in tls.starttls_never")
    send(gateway, "b.test", "b@sender.test")  # another domain at the same host may
    assert attempts(gateway, "delivered", "b@sender.test")[-1]["tls"]["obtained"] == "none"
    assert gateway.stderr().count(" tls_conflict ") == 1 and len(peer.messages) == 1


@pytest.mark.parametrize("switch,obtained", [(True, "encrypted"), (False, "none")])
def test_C5_C13_the_switch_is_the_level_where_nobody_says_one(make_gateway, servers, make_dns, own_pki, switch, obtained):
    gateway, _ = simple(make_gateway, servers, make_dns, own_pki, starttls_when_possible=switch)
    send(gateway, "a.test", "1@sender.test")
    assert attempts(gateway, "delivered", "1@sender.test")[-1]["tls"]["obtained"] == obtained


def test_2_17_a_connection_carries_another_domain_only_when_it_was_verified_for_that(make_gateway, servers, make_dns, own_pki):
    """Two domains at one smart host, whose certificate names one of them; and one that is only to be encrypted."""
    certificate = make_certificate(own_pki, "shared", ["one.test"])
    port, (peer,) = servers({"127.0.1.1": {"pki": certificate}})
    names = make_dns({"relay.test": "@ A 127.0.1.1"})
    gateway = make_gateway(outward(port, names, authorities={"system": False, "custom": str(own_pki.ca)},
        routes=[{"domain": "default", "next_hop": f"relay.test:{port}"}],
        destinations=[{"domain": "one.test", "tls": "required-verify"}, {"domain": "two.test", "tls": "required-verify"}]))
    for n, (domain, state) in enumerate((("one.test", "delivered"), ("two.test", "deferred"), ("three.test", "delivered"),
            ("one.test", "delivered"))):
        send(gateway, domain, f"{n}@sender.test")
        evidence = attempts(gateway, state, f"{n}@sender.test")[-1]["tls"]
        assert evidence["obtained"] == ("verified" if domain == "one.test" else "encrypted"), evidence
    assert len(peer.messages) == 3


def test_F8_mail_over_one_connection_has_the_grounds_of_its_own_domain(make_gateway, servers, make_dns, own_pki):
    """One server, one demand, said in two places; its certificate was looked at for the first domain."""
    port, (peer,) = servers({"127.0.1.1": {"pki": make_certificate(own_pki, "shared", ["one.test"])}})
    gateway = make_gateway(outward(port, make_dns({"relay.test": "@ A 127.0.1.1"}), authorities={"system": False, "custom": str(own_pki.ca)},
        routes=[{"domain": "default", "next_hop": f"relay.test:{port}"}],
        destinations=[{"domain": "one.test", "tls": "required"}, {"domain": "default", "tls": "required"}], delivery={"connections": 1}))
    with smtp.Client(gateway.address()) as client:
        client.ehlo()
        for n in range(4):
            client.mail(f"{n}@sender.test", [f"bob@{['one', 'two'][n % 2]}.test"], harness.message())
    for n in range(4):
        evidence = attempts(gateway, "delivered", f"{n}@sender.test")[-1]["tls"]
        said = "for this destination" if n % 2 == 0 else "by destination `default`"
        assert evidence["reason"] == f"TLS is required {said}; the certificate is not checked at this level", evidence
        assert evidence["policy"]["reason"] == f"TLS is required {said}"
        assert evidence["facts"]["level_from"] == ("destination" if n % 2 == 0 else "default")
    first = next(domain for line, _ in peer.sessions[0].commands if line.startswith("RCPT") for domain in ("one.test", "two.test") if domain in line)
    for n in range(4):
        checks = attempts(gateway, "delivered", f"{n}@sender.test")[-1]["tls"].get("checks") or {}
        if len(peer.sessions) == 1:
            assert ("domain" in checks) == (["one.test", "two.test"][n % 2] == first), (n, checks)


@pytest.mark.parametrize("level,state", [("preferred", "delivered"), ("preferred-verify", "delivered"), ("required-verify", "deferred"),
    ("required-verify-hosted", "deferred")])
@pytest.mark.parametrize("flaw", ["revoked", "fqdn"])
def test_B59_A67_revocation_and_validation_count_at_the_verifying_levels(make_gateway, servers, make_dns, own_pki, level, state, flaw):
    certificate = make_certificate(own_pki, "flawed", ["*.a.test", *(["local"] if flaw == "fqdn" else [])])
    more = {"tls": {"fqdn_validation": flaw == "fqdn"}}
    with crl.Server() as lists:
        if flaw == "revoked":
            said = harness.run("openssl", "x509", "-in", certificate.server, "-noout", "-serial").stdout
            lists.answers["/ca.crl"] = crl.Authority(own_pki).list([int(said.split("=")[1], 16)])
            more["crl_sources"] = {"check": {"outbound_smtp": True},
                "sources": [{"name": "ca", "type": "asn1", "primary": lists.url(), "schedule": "weekly sunday 03:00"}]}
        port, _ = servers({"127.0.1.1": {"pki": certificate}})
        gateway = make_gateway(outward(port, make_dns({"a.test": "* MX 10 mx\nmx A 127.0.1.1"}),
            authorities={"system": False, "custom": str(own_pki.ca)}, destinations=[{"domain": "x.a.test", "tls": level}], **more))
        if flaw == "revoked":
            harness.wait_for("the list is in use", lambda: gateway.status()["generation"] >= 2)
        send(gateway, "x.a.test", "1@sender.test")
        evidence = attempts(gateway, state, "1@sender.test")[-1]["tls"]
    assert evidence["obtained"] == "encrypted" and evidence["checks"]["domain"]["result"] == "certificate-not-trusted", evidence
    assert {"revoked": "revoked", "fqdn": "no fully qualified name"}[flaw] in evidence["checks"]["domain"]["reason"]
    assert (evidence["verification"] is None) == (level == "preferred")


def test_every_key_of_the_example_does_what_it_says(make_gateway, servers, own_pki):
    """examples/outbound.yaml as it stands, but for the ports, the user, and the entry for nobody's network."""
    certificate = make_certificate(own_pki, "all", ["*.verify.test", "verify.test", "mx.hosted.test", "mx.good.test", "*.maybe.test"])
    strange = make_certificate(own_pki, "strange", ["maybe.test"], ours=False)
    kinds = {"plain": {}, "must": {}, "maybe": {"pki": strange}, "verify": {}, "hosted": {}, "good": {}, "bank": {"starttls": "broken"},
        "other": {"starttls": "broken"}}
    port, peers = servers({f"127.0.1.{n}": {"pki": certificate, **options} for n, options in enumerate(kinds.values(), 1)})
    zones = {f"{name}.test": dns.Zone(f"@ MX 10 mx\nmx A 127.0.1.{n}" + (f"\n_{port}._tcp.mx {tlsa(certificate)}" if name == "good" else ""))
        for n, name in enumerate(kinds, 1)}
    with dns.Server(zones) as server:
        text = (harness.ROOT / "examples/outbound.yaml").read_text()
        for old, new in (("127.0.0.53@5300", f"127.0.0.1@{server.port}"), ("port: 25 ", f"port: {port} "), ("127.0.0.1:2525", "127.0.0.1:0"),
                ("custom: pki/ca.pem", f"custom: {own_pki.ca}"), ("hostname: gw.good.test", f"hostname: gw.good.test\nuser: {harness.USER}"),
                ("dns/ta.test", str(server.settings()["trust_anchor_file"]))):
            assert old in text, old
            text = text.replace(old, new)
        gateway = make_gateway(text)
        states = {"plain": ("delivered", "none"), "must": ("delivered", "encrypted"), "maybe": ("delivered", "encrypted"),
            "verify": ("delivered", "verified"), "hosted": ("delivered", "verified"), "good": ("delivered", "verified"),
            "bank": ("deferred", None), "other": ("delivered", "none")}
        for name in states:
            smtp.submit(gateway.address("inside"), f"{name}@sender.test", f"bob@{name}.test", harness.message())
        for name, (state, obtained) in states.items():
            evidence = attempts(gateway, state, f"{name}@sender.test")[-1]["tls"]
            assert obtained is None or evidence["obtained"] == obtained, (name, evidence)
            assert evidence["policy"]["decided_by"] == {"plain": "destination-none", "bank": "required-list", "other": "temporary-list",
                "good": "dane-mandatory", "maybe": "destination-preferred"}.get(name, "destination-required"), (name, evidence)
    assert peers[0].sessions[0].verbs()[:2] == ["EHLO", "MAIL"]
