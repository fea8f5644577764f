"""A day with outbound TLS: what an administrator did who had only the README and the pages it names, in his order and with his commands (only ports and
names are ours). Six levels, DANE and a record that was rolled wrongly, the lists, a client certificate; and how he asked before, and looked back."""

import json

import pytest

import dns
import harness
import smtp
from test_client_certificates import make_client
from test_hosts import outward, servers  # noqa: F401 (fixtures)
from test_outbound_tls import make_certificate, tlsa
from test_trust_day import typed

# Recipients' domain below day.test, its server, its entry in `destinations`; what becomes of a mail to it, and a word of the reason.
DAY = [
    ("good", "good", None, "delivered", "encrypted", "TLS is preferred"),
    ("nostls", "nostls", None, "delivered", "none", "does not offer STARTTLS"),
    ("broken", "broken", None, "deferred", "none", "handshake failed"),
    ("self", "self", None, "delivered", "encrypted", "TLS is preferred"),
    ("none", "good", {"tls": "none"}, "delivered", "none", "TLS is switched off"),
    ("req", "good", {"tls": "required"}, "delivered", "encrypted", "TLS is required for this destination"),
    ("reqno", "nostls", {"tls": "required"}, "deferred", "none", "does not offer STARTTLS"),
    ("reqbroken", "broken", {"tls": "required"}, "deferred", "none", "handshake failed"),
    ("pv", "good", {"tls": "preferred-verify"}, "delivered", "verified", "pv.day.test"),
    ("pvbad", "self", {"tls": "preferred-verify"}, "delivered", "encrypted", ""),
    ("rv", "good", {"tls": "required-verify"}, "delivered", "verified", "rv.day.test"),
    ("rvbad", "self", {"tls": "required-verify"}, "deferred", "encrypted", ""),
    ("rvh", "hosted", {"tls": "required-verify-hosted"}, "delivered", "verified", "mx.hosted.day.test"),
    ("rvhbad", "self", {"tls": "required-verify-hosted"}, "deferred", "encrypted", ""),
    ("mtls", "mtls", {"tls": "required", "certificate": "client"}, "delivered", "encrypted", "TLS is required"),
    ("partner", "partner", {"tls": "required-verify", "authorities": {"custom": "partner.pem"}}, "delivered", "verified", "partner.day.test"),
    ("dgood", "dgood", None, "delivered", "verified", "3 1 1 "),
    ("dwrong", "dwrong", None, "deferred", "encrypted", "no TLSA record matches"),
    ("dnostls", "dnostls", None, "deferred", "none", "the host has TLSA records"),
    ("multi", None, None, "delivered", "verified", "3 1 1 "),
    ("mgood", "dgood", {"tls": "required", "dane": "mandatory"}, "delivered", "verified", "3 1 1 "),
    ("mnone", "good", {"tls": "required", "dane": "mandatory"}, "deferred", "none", "the host has no TLSA records"),
    ("mwrong", "dwrong", {"tls": "required", "dane": "mandatory"}, "deferred", "encrypted", "no TLSA record matches"),
    ("awrong", "dwrong", {"dane": "audit"}, "delivered", "encrypted", "TLS is preferred"),
    ("nwrong", "dwrong", {"dane": "none"}, "delivered", "encrypted", "TLS is preferred"),
    ("never", "good", None, "delivered", "none", "tls.starttls_never"),
    ("both", "good", None, "delivered", "encrypted", "tls.starttls_required"),
    ("neverreq", "good", {"tls": "required"}, "deferred", "none", "but the host is listed in tls.starttls_never"),
    ("neverdane", "dgood", None, "delivered", "none", "tls.starttls_never"),
    ("bogus", None, None, "deferred", None, ""),
    ("nothere", None, None, "bounced", None, ""),
]
DEMAND = {name for name, server, entry, *_ in DAY if entry and (entry.get("tls", "").startswith("required") or "dane" in entry and
    entry["dane"] == "mandatory")} | {"dgood", "dwrong", "dnostls", "multi", "both"}
LISTS = {"starttls_never": ["never.day.test", "both.day.test", "neverreq.day.test", "neverdane.day.test"], "starttls_required": ["both.day.test"]}
ADDRESSES = {name: f"127.0.1.{n}" for n, name in enumerate(("good", "nostls", "broken", "self", "mtls", "partner", "rolling", "hosted"), 1)}
SAME = {"dgood": "good", "dwrong": "good", "dnostls": "nostls"}


class House:
    """The servers, their zones and the gateway."""

    def __init__(self, servers, own, partner, folder):
        options = {"nostls": {"starttls": "absent"}, "broken": {"starttls": "broken"}}
        self.certificates = {"good": make_certificate(own, "good", ["*.day.test"]), "self": make_certificate(own, "self", ["x.other.test"], ours=False),
            "hosted": make_certificate(own, "hosted", ["mx.hosted.day.test"]), "mtls": make_certificate(own, "mtls", ["mtls.day.test"]),
            "partner": make_certificate(partner, "partner", ["partner.day.test"]),
            "rolling": make_certificate(own, "rolling", ["x.other.test"], ours=False), "rolled": make_certificate(own, "rolled", ["x.other.test"], ours=False)}
        self.own, self.partner, self.folder = own, partner, folder
        self.port, peers = servers({address: {"pki": self.certificates.get(name, own), **options.get(name, {})} for name, address in ADDRESSES.items()})
        self.peers = dict(zip(ADDRESSES, peers))
        self.peers["mtls"].ask(own.ca, require=True)
        self.peers["rolling"].context.num_tickets = 0
        self.fingerprint = make_client(own, "client")
        self.destinations = [{"domain": "default", "tls": "preferred"}, {"domain": "rolling.day.test", "dane": "mandatory", "tls": "required"},
            *({"domain": f"{name}.day.test", **entry} for name, _, entry, *_ in DAY if entry)]
        for entry in self.destinations:
            if "authorities" in entry:
                entry["authorities"] = {"custom": str(partner.ca)}

    def zone(self):
        key, port = tlsa(self.certificates["good"]), self.port
        lines = [f"{name} MX 10 mx.{server}" for name, server, *_ in DAY if server]
        lines += ["rolling MX 10 mx.rolling", "multi MX 10 mx.dwrong", "multi MX 20 mx.dgood"]
        lines += [f"mx.{name} A {address}" for name, address in ADDRESSES.items()] + [f"mx.{name} A {ADDRESSES[of]}" for name, of in SAME.items()]
        return "\n".join([*lines, f"_{port}._tcp.mx.dgood {key}", f"_{port}._tcp.mx.dwrong TLSA 3 1 1 {'00' * 32}", f"_{port}._tcp.mx.dnostls {key}",
            f"_{port}._tcp.mx.rolling 1 {tlsa(self.certificates['rolling'])}", "sub MX 10 mx.good"])

    def settings(self, names, **more):
        names = {**names, "timeout": "5s"}
        certificates = [{"name": "main", "chain": "pki/server.pem", "key": "pki/server.key"},
            {"name": "client", "chain": str(self.own.folder / "client.pem"), "key": str(self.own.folder / "client.key")}]
        return outward(self.port, names, **{"authorities": {"system": False, "custom": str(self.own.ca)}, "certificates": certificates, "tls": LISTS,
            "destinations": self.destinations, **more})

    def clear(self):
        """The recipients whose mail came in clear."""
        return {r.strip("<>").split("@")[1].split(".")[0] for peer in self.peers.values() for m in peer.messages if not m.tls for r in m.recipients}


def domain_of(name):
    return "bogus.test" if name == "bogus" else f"{name}.day.test"


def send(gateway, name, user="u"):
    smtp.submit(gateway.address(), "me@home.test", f"{user}@{domain_of(name)}", harness.message())


def fate(gateway, name, state, user="u"):
    """The evidence of the last attempt, once the mail is in this state."""
    attempts = gateway.tracked(state, recipient=f"{user}@{domain_of(name)}")["recipients"][0]["attempts"]
    return (attempts[-1].get("tls") or {}) if attempts else {}


def last_line(gateway, *arguments, code=0):
    return typed(gateway, *arguments, code=code).splitlines()[-1]


@pytest.fixture
def house(servers, tmp_path):
    made = House(servers, harness.Pki(tmp_path / "own"), harness.Pki(tmp_path / "partner"), tmp_path)
    zones = {"day.test": dns.Zone(made.zone()), "plain.test": dns.Zone("sec MX 10 mx.dgood.day.test.", dns.INSECURE),
        "bogus.test": dns.Zone("@ MX 10 mx\nmx A 127.0.1.1", dns.BOGUS)}
    with dns.Server(zones) as made.dns:
        yield made


def test_each_domain_gets_what_is_said_for_it(make_gateway, house):
    gateway = make_gateway(house.settings(house.dns.settings()), start=False)
    assert "no mail for `neverreq.day.test` can be delivered" in typed(gateway, "check")
    gateway.start()
    for name, *_ in DAY:
        send(gateway, name)
    smtp.submit(gateway.address(), "me@home.test", "u@sec.plain.test", harness.message())
    for name, _, _, state, obtained, words in DAY:
        evidence = fate(gateway, name, state)
        assert (evidence.get("obtained"), words in json.dumps(evidence)) == (obtained, True), (name, evidence)
        if state == "deferred" and obtained is not None:
            assert evidence["reason"] in typed(gateway, "track", "--recipient", f"u@{domain_of(name)}"), name
    (record,) = gateway.tracked("delivered", recipient="u@sec.plain.test")["recipients"]
    assert record["attempts"][-1]["tls"]["obtained"] == "trusted"
    assert not house.clear() & DEMAND
    assert house.clear() == {name for name, _, _, state, obtained, _ in DAY if (state, obtained) == ("delivered", "none")}
    assert [session.certificate for session in house.peers["mtls"].sessions if session.messages] == [house.fingerprint]
    listed = typed(gateway, "queue", "list")
    assert "DANE is mandatory, and the host has no TLSA records" in listed
    for event in ("tls_failed", "tls_unverified", "tls_downgrade", "tls_conflict", "tls_host_skipped"):
        assert f" {event} " in gateway.stderr(), event

    report = gateway.json("report", "tls", "--since", "1h")["outgoing"]
    assert report["verified"] == sum(obtained == "verified" for *_, obtained, _ in DAY), report
    assert report["in_clear"] == len(house.clear())
    file = gateway.folder / "tried.yaml"
    file.write_text("destinations:\n  - {domain: default, tls: required-verify}\n")
    tried = gateway.command("policy", "dry-run", "--destinations", str(file), "--json")
    rows = {row["domain"]: row for row in json.loads(tried.stdout)["domains"]}
    assert tried.returncode == 1 and rows["self.day.test"]["lost"] == 1 and rows["nostls.day.test"]["lost"] == 1 and rows["rv.day.test"]["lost"] == 0
    typed(gateway, "policy", "dry-run", "--destinations", str(gateway.file))


def test_asking_before(make_gateway, house):
    gateway = make_gateway(house.settings(house.dns.settings()))
    for name, code, words in (("good", 0, "TLS is preferred"), ("mgood", 0, "DANE is mandatory"), ("neverreq", 1, "but the host is listed"),
            ("mnone", 1, "the host has no TLSA records"), ("nothere", 1, ""), ("bogus", 75, "")):
        assert words in typed(gateway, "explain", domain_of(name), code=code), name
    for name, code, sent in (("nostls", 0, "in clear"), ("rv", 0, "in TLS, verified"), ("multi", 0, "in TLS, verified"), ("good", 0, "in TLS, not verified"),
            ("mwrong", 1, "not at all"), ("reqno", 1, "not at all")):
        assert f"mail would be sent {sent}: " in typed(gateway, "explain", domain_of(name), "--live", code=code), name
    assert "no TLSA record matches" in typed(gateway, "explain", "mwrong.day.test", "--live", code=1)
    for name, code in (("rv", 0), ("rvbad", 1), ("nostls", 1), ("nothere", 1), ("bogus", 75)):
        said = last_line(gateway, "tls", "verify", domain_of(name), code=code)
        assert said == f"certificate {'NOT ' if code else ''}VERIFIED for {domain_of(name)}", said
    for name, code in (("dgood", 0), ("multi", 0), ("dwrong", 1), ("good", 1), ("dnostls", 1), ("none", 1), ("nothere", 1), ("bogus", 75)):
        said = last_line(gateway, "dane", "verify", domain_of(name), code=code)
        assert said == f"DANE {'FAILED' if code else 'SUCCESS'} for {domain_of(name)}", said
    assert not any(peer.messages for peer in house.peers.values()) and gateway.track(since="1h") == []
    house.dns.stop()
    for command in (["explain", "pv.day.test"], ["dane", "verify", "self.day.test"]):
        typed(gateway, *command, code=75)
    send(gateway, "rolling")
    assert fate(gateway, "rolling", "deferred").get("obtained") is None


def test_a_record_that_is_rolled_wrongly_and_mended(make_gateway, house):
    gateway = make_gateway(house.settings(house.dns.settings()))
    rolling = house.peers["rolling"]
    send(gateway, "rolling", "before")
    assert fate(gateway, "rolling", "delivered", "before")["obtained"] == "verified"
    harness.wait_for("the connection is closed", lambda: all(session.ended for session in rolling.sessions))
    rolling.context.load_cert_chain(house.certificates["rolled"].server, house.certificates["rolled"].key)
    send(gateway, "rolling")
    assert "no TLSA record matches" in fate(gateway, "rolling", "deferred")["reason"] and len(rolling.messages) == 1
    assert last_line(gateway, "dane", "verify", "rolling.day.test", code=1) == "DANE FAILED for rolling.day.test"

    house.dns.stop()
    path = house.dns.folder / "day.test.zone"
    path.write_text(path.read_text().replace(tlsa(house.certificates["rolling"]), tlsa(house.certificates["rolled"])))
    house.dns.sign("day.test")
    house.dns.start(house.dns.port)
    harness.wait_for("the record of before is forgotten", lambda: gateway.command("dane", "verify", "rolling.day.test").returncode == 0)
    typed(gateway, "queue", "flush", "--recipient", "u@rolling.day.test")
    assert fate(gateway, "rolling", "delivered")["obtained"] == "verified" and all(message.tls for message in rolling.messages)


def test_mail_in_clear_after_a_failed_handshake_and_the_list_of_it(make_gateway, house):
    gateway = make_gateway(house.settings(house.dns.settings(), tls={"retry_without_tls": True, **LISTS}))
    for name, state in (("broken", "delivered"), ("reqbroken", "deferred")):
        send(gateway, name)
        assert fate(gateway, name, state)["obtained"] == "none"
    assert "127.0.1.3" in typed(gateway, "tls", "temporary") and " tls_retry_without " in gateway.stderr()
    assert house.clear() == {"broken"}
    typed(gateway, "tls", "temporary", "--empty")
    assert gateway.json("tls", "temporary")["hosts"] == []
    gateway.configure(house.settings(house.dns.settings()))
    typed(gateway, "reload")
    send(gateway, "broken", "after")
    assert "handshake failed" in fate(gateway, "broken", "deferred", "after")["reason"]


def test_reloads_good_and_refused_lose_nothing_and_weaken_nothing(make_gateway, house):
    names = house.dns.settings()
    gateway = make_gateway(house.settings(names))
    good, rounds = gateway.file.read_text(), 6
    wrong = good.replace("dane: mandatory", "dane: mandatroy")
    ends = {"rv": "delivered", "req": "delivered", "never": "delivered", "dgood": "delivered", "rvbad": "deferred", "reqno": "deferred", "mwrong": "deferred"}
    with smtp.Client(gateway.address()) as client:
        client.ehlo()
        for n in range(rounds):
            for name in ends:
                client.mail("me@home.test", [f"r{n}@{domain_of(name)}"], harness.message())
            gateway.configure(wrong)
            assert "mandatory" in typed(gateway, "reload", code=1)
            gateway.configure(house.settings(names, delivery={"concurrency": 3 + n % 4}))
            typed(gateway, "reload")
    for name, state in ends.items():
        gateway.tracked(state, count=rounds, domain=domain_of(name))
    assert house.clear() == {"never"}
    taken = sorted(r.strip("<>") for peer in house.peers.values() for m in peer.messages for r in m.recipients)
    assert taken == sorted(f"r{n}@{domain_of(name)}" for n in range(rounds) for name, state in ends.items() if state == "delivered")
    waiting = typed(gateway, "queue", "list", "--json").splitlines()
    assert len(waiting) == rounds * sum(state == "deferred" for state in ends.values())
