"""What DANE costs the DNS, and who pays for a broken zone: mail to signed domains, with all that leaves the gateway counted at the zones' server."""

import subprocess

import pytest

import dns
import harness
import smtp

DOMAINS = 1000


def tlsa(pki):
    """3 1 1 of the receiver's key."""
    key = subprocess.run(["openssl", "x509", "-in", str(pki.server), "-noout", "-pubkey"], capture_output=True, check=True).stdout
    der = subprocess.run(["openssl", "pkey", "-pubin", "-outform", "DER"], input=key, capture_output=True, check=True).stdout
    digest = subprocess.run(["openssl", "dgst", "-sha256", "-binary"], input=der, capture_output=True, check=True).stdout
    return "3 1 1 " + digest.hex()


def outward(zones, sink, **more):
    """A gateway that relays for loopback, to where MX records lead; DANE must hold."""
    port = int(sink.address.rsplit(":", 1)[1])
    listeners = [{"name": "inbound", "type": "private", "address": "127.0.0.1:0", "certificate": "main", "policy": "out"}]
    return harness.settings(dns=zones.settings(), listeners=listeners, accepted_domains=None, routes=None,
        mail_flow_policies=[{"name": "out", "action": "relay", "tls": "preferred"}],
        destinations=[{"domain": "default", "tls": "preferred", "dane": "mandatory"}],
        delivery={"retry": ["1s"], "connections": 20, "port": port}, **more)


@pytest.fixture
def host(pki):
    """Records of a host mx with the receiver's key in port PORT."""
    return lambda sink, name="mx": f"{name} A 127.0.0.1\n_{sink.address.rsplit(':', 1)[1]}._tcp.{name} TLSA {tlsa(pki)}\n"


def send(gateway, recipients):
    smtp.submit(gateway.address(), "alice@sender.test", recipients, harness.message())


def test_3_36_with_warm_caches_no_question_leaves(make_gateway, pki, host):
    with harness.Sink(pki) as sink, dns.Server({"good.test": dns.Zone("@ MX 10 mx\n" + host(sink))}) as server, dns.Watched(server) as watched:
        gateway = make_gateway(outward(watched, sink))
        send(gateway, "bob@good.test")
        sink.wait(1)
        port = sink.address.rsplit(":", 1)[1]
        assert watched.count(f"_{port}._tcp.mx.good.test", "TLSA") == 1
        before = watched.total()
        for n in range(20):
            send(gateway, f"bob{n}@good.test")
        sink.wait(21)
        assert watched.total() == before, watched.asked[before:]


def test_2_01_tlsa_records_do_not_change_the_order(make_gateway, pki, host):
    """A worse host with TLSA records does not come before a better one without."""
    records = "@ MX 10 plain\n@ MX 20 mx\nplain A 127.0.0.1\n"
    with harness.Sink(pki) as sink, dns.Server({"good.test": dns.Zone(records + host(sink))}) as server:
        settings = outward(server, sink)
        settings["destinations"] = [{"domain": "default", "tls": "preferred", "dane": "opportunistic"}]
        gateway = make_gateway(settings)
        for n in range(5):
            send(gateway, f"bob{n}@good.test")
        records = gateway.tracked("delivered", count=5)
        attempts = [a for record in records for r in record["recipients"] for a in r["attempts"]]
        assert len(attempts) == 5 and {a["host"] for a in attempts} == {"plain.good.test"}


def test_3_06_3_17_nobody_is_asked_for_records_that_would_not_count(make_gateway, pki, host):
    """Name servers of unsigned zones that fail at TLSA (outlook.com does) are not asked; nor are names between an alias and its end."""
    wrong = "TLSA 3 1 1 " + "ab" * 32

    def fail(question, packet):
        return question.answer(code=2) if question.type == "TLSA" and "insecure" in question.name else packet

    with harness.Sink(pki) as sink:
        port = sink.address.rsplit(":", 1)[1]
        chain = f"@ MX 10 a\na CNAME b\nb CNAME c\nc A 127.0.0.1\n_{port}._tcp.b {wrong}\n"
        unsigned = f"@ MX 10 mx\nmx A 127.0.0.1\n_{port}._tcp.mx {wrong}\n"
        away = f"@ MX 10 a\na CNAME mx.insecure.test.\n_{port}._tcp.a TLSA {tlsa(pki)}\n"
        zones = {"chain.test": dns.Zone(chain), "insecure.test": dns.Zone(unsigned, dns.INSECURE), "away.test": dns.Zone(away),
            "mixed.test": dns.Zone("@ MX 10 mx.insecure.test.\n")}
        with dns.Server(zones) as server, dns.Watched(server, fail) as watched:
            settings = outward(watched, sink)
            settings["destinations"] = [{"domain": "default", "tls": "preferred", "dane": "opportunistic"},
                {"domain": "away.test", "dane": "mandatory"}]
            gateway = make_gateway(settings)
            for name in zones:
                send(gateway, f"bob@{name}")
            sink.wait(len(zones))
            asked = {name for name, type in watched.asked if type == "TLSA"}
            # That the end of the chain has none may be known already, by the proof of another lack.
            assert asked - {f"_{port}._tcp.c.chain.test"} == {f"_{port}._tcp.a.chain.test", f"_{port}._tcp.a.away.test"}
            obtained = {name: gateway.track(recipient=f"bob@{name}")[0]["recipients"][0]["attempts"][0]["tls"]["obtained"] for name in zones}
            assert obtained == {name: "verified" if name == "away.test" else "encrypted" for name in zones}


def test_3_04_3_05_a_bogus_and_a_silent_domain_among_a_thousand_hold_up_nobody(make_gateway, pki, host):
    """The others arrive while one is silent, and one cannot be believed; these two wait, and the silent one arrives when it speaks."""
    silent = True

    def answer(question, packet):
        return None if silent and question.name.endswith("silent.test") else packet

    with harness.Sink(pki) as sink:
        one = "@ MX 10 mx\n" + host(sink)
        many = "".join(f"d{n} MX 10 mx{n % 8}\n" for n in range(DOMAINS - 2)) + "".join(host(sink, f"mx{n}") for n in range(8))
        zones = {"many.test": dns.Zone(many), "silent.test": dns.Zone(one), "bogus.test": dns.Zone(one, dns.BOGUS)}
        with dns.Server(zones) as server, dns.Watched(server, answer) as watched:
            gateway = make_gateway(outward(watched, sink))
            people = [f"bob@d{n}.many.test" for n in range(DOMAINS - 2)]
            send(gateway, "bob@silent.test")
            send(gateway, "bob@bogus.test")
            harness.wait_for("the silent one is asked", lambda: watched.count("silent.test", "MX") > 0)
            for start in range(0, len(people), 100):
                send(gateway, people[start:start + 100])
            arrived = {r for m in sink.wait(DOMAINS - 2, patience=3 * harness.PATIENCE) for r in m["recipients"]}
            assert arrived == set(people)
            for person in ("bob@silent.test", "bob@bogus.test"):
                assert [r["state"] for record in gateway.track(recipient=person) for r in record["recipients"]] in (["queued"], ["deferred"])
            silent = False
            gateway.tracked("delivered", recipient="bob@silent.test")
