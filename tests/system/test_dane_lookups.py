"""What DANE rests on, asked of role `resolver` over signed zones: large answers, lies about validation, names as they are, and nothing that is
remembered for too long or asked for again. `postern dns` asks as role deliver does. Conformance 3.04, 3.11 to 3.18, 3.36."""

import struct

import pytest

import dns
import harness
from test_resolver import ask, records

FLAG_AD = 0x0020

SIGNED = """
    @ MX 10 mx1
    mx1 A 127.0.0.1
    _25._tcp.mx1 TLSA 3 1 1 """ + "ab" * 32 + """
    many A 127.0.0.1
""" + "\n".join(f"_25._tcp.many TLSA 3 1 1 {n:02x}" + "00" * 31 for n in range(60)) + """
    brief 1 A 127.0.0.1
    out CNAME mx1.insecure.test.
    two CNAME one
    one CNAME mx1
    _25._tcp.out CNAME _25._tcp.mx1
    _25._tcp.half CNAME _25._tcp.mx1.insecure.test.
"""


@pytest.fixture(scope="module")
def zones():
    with dns.Server({**dns.standard(), "signed.test": dns.Zone(SIGNED)}) as server:
        yield server


def with_ad(question, answer):
    """The packet with the word of an authenticated answer."""
    return answer[:2] + struct.pack(">H", struct.unpack(">H", answer[2:4])[0] | FLAG_AD) + answer[4:]


def test_3_13_sixty_records_come_over_tcp(make_gateway, zones):
    with dns.Watched(zones) as watched:
        gateway = make_gateway(dns=watched.settings())
        name = "_25._tcp.many.signed.test"
        code, answer = ask(gateway, name, "TLSA")
        assert (code, answer["result"], answer["security"], len(answer["records"])) == (0, "found", "secure", 60), answer
        assert (name, "TLSA") in watched.over_tcp


def test_3_13_keys_that_are_too_large_for_a_datagram(make_gateway):
    """Field report: DNSKEY answers of more than 1232 bytes (checklist 15)."""
    with dns.Server({"good.test": dns.Zone("_25._tcp.mx1 TLSA 3 1 1 " + "ab" * 32)}) as server:
        server.stop()
        keys = [server._tool("ldns-keygen", "-a", "RSASHA256", "-b", "4096", "-k", "good.test") for _ in range(2)]
        server.sign("good.test", dns.SIGNED, *keys)
        server.start()
        with dns.Watched(server) as watched:
            gateway = make_gateway(dns=watched.settings())
            assert ask(gateway, "_25._tcp.mx1.good.test", "TLSA")[1]["security"] == "secure"
            assert ("good.test", "DNSKEY") in watched.over_tcp


@pytest.mark.parametrize("zone", ["insecure.test", "bogus.test", "expired.test"])
def test_3_11_nobody_vouches_for_an_answer_by_saying_so(make_gateway, zones, zone):
    """A resolver of `forward` that claims to have validated what it cannot have."""
    with dns.Watched(zones, with_ad) as liar:
        gateway = make_gateway(dns=liar.settings())
        for name, type in ((zone, "MX"), (f"mx1.{zone}", "A"), (f"_25._tcp.mx1.{zone}", "TLSA")):
            answer = ask(gateway, name, type)[1]
            assert answer["security"] == ("insecure" if zone == "insecure.test" else "bogus"), answer


def test_3_11_nor_for_records_that_it_adds(make_gateway, zones):
    def forge(question, answer):
        if question.type != "TLSA":
            return answer
        return with_ad(question, question.answer([dns.record(question.name, "TLSA", b"\3\1\1" + b"x" * 32)]))

    with dns.Watched(zones, forge) as liar:
        gateway = make_gateway(dns=liar.settings())
        for name in ("_25._tcp.mx1.signed.test", "_25._tcp.nobody.signed.test"):
            code, answer = ask(gateway, name, "TLSA")
            assert (code, answer["security"], answer["records"]) == (75, "bogus", []), answer


@pytest.mark.parametrize("code", [1, 2, 4, 5], ids=["FORMERR", "SERVFAIL", "NOTIMP", "REFUSED"])
def test_3_04_name_servers_that_fail_at_TLSA_say_nothing(make_gateway, zones, code):
    def fail(question, answer):
        return question.answer(code=code) if question.type == "TLSA" else answer

    with dns.Watched(zones, fail) as server:
        gateway = make_gateway(dns=server.settings())
        assert ask(gateway, "mx1.signed.test")[1]["security"] == "secure"
        status, answer = ask(gateway, "_25._tcp.mx1.signed.test", "TLSA")
        assert (status, answer["result"], answer["records"]) == (75, "failed", []), answer


def test_3_04_nor_does_a_denial_that_nothing_proves(make_gateway, zones):
    """NXDOMAIN without a signature, from whoever sits on the way."""
    def deny(question, answer):
        return with_ad(question, question.answer(code=3)) if question.type == "TLSA" else answer

    with dns.Watched(zones, deny) as server:
        gateway = make_gateway(dns=server.settings())
        status, answer = ask(gateway, "_25._tcp.mx1.signed.test", "TLSA")
        assert (status, answer["result"], answer["security"]) == (75, "failed", "bogus"), answer


def test_3_12_names_are_asked_as_they_are(make_gateway, zones, monkeypatch):
    """No search list, no domain of this machine's own."""
    monkeypatch.setenv("LOCALDOMAIN", "signed.test")
    monkeypatch.setenv("RES_OPTIONS", "ndots:5")
    with dns.Watched(zones) as watched:
        gateway = make_gateway(dns=watched.settings())
        for name in ("mx1", "mx1.test"):
            assert ask(gateway, name)[1]["result"] != "found", name
        assert records(gateway, "mx1.signed.test") == ["127.0.0.1"]
        assert watched.asked.count(("mx1.signed.test", "A")) == 1


def test_3_14_tlsa_of_no_length_is_still_there(make_gateway):
    short = [b"", b"\3", b"\3\1", b"\3\1\1"]

    def script(question):
        return question.answer([dns.record(question.name, "TLSA", data) for data in short] if question.type == "TLSA" else [])

    with dns.Scripted(script) as server:
        gateway = make_gateway(dns=server.settings())
        code, answer = ask(gateway, "_25._tcp.mx1.short.test", "TLSA")
        assert (code, answer["result"], sorted(answer["records"])) == (0, "found", ["", "3 ", "3 1 ", "3 1 1 "]), answer
        assert gateway.roles()["resolver"]["restarts"] == 0


def test_3_16_3_18_an_alias_is_as_secure_as_all_that_it_leads_to(make_gateway, zones):
    gateway = make_gateway(dns=zones.settings())
    for name, type, security, canonical in (("two.signed.test", "A", "secure", "mx1.signed.test"),
            ("out.signed.test", "A", "insecure", "mx1.insecure.test"), ("out.signed.test", "CNAME", "secure", "out.signed.test"),
            ("_25._tcp.out.signed.test", "TLSA", "secure", "_25._tcp.mx1.signed.test"),
            ("_25._tcp.half.signed.test", "TLSA", "insecure", "_25._tcp.mx1.insecure.test"),
            ("alias.insecure.test", "CNAME", "insecure", "alias.insecure.test")):
        code, answer = ask(gateway, name, type)
        assert (code, answer["security"], answer["canonical"]) == (0, security, canonical), answer


def test_3_36_nothing_is_asked_twice_within_its_time_and_nothing_kept_beyond_it(make_gateway):
    with dns.Server({"signed.test": dns.Zone(SIGNED), "insecure.test": dns.Zone("mx1 A 127.0.0.1", dns.INSECURE)}) as server, dns.Watched(
            server) as watched:
        gateway = make_gateway(dns=watched.settings())

        def all_of_it():
            for name, type in (("signed.test", "MX"), ("mx1.signed.test", "A"), ("mx1.signed.test", "AAAA"), ("_25._tcp.mx1.signed.test", "TLSA"),
                    ("two.signed.test", "A"), ("out.signed.test", "CNAME"), ("_25._tcp.two.signed.test", "TLSA")):
                assert ask(gateway, name, type)[1]["security"] == "secure", name

        all_of_it()
        assert records(gateway, "brief.signed.test") == ["127.0.0.1"]
        before = watched.total()
        for _ in range(3):
            all_of_it()
        assert watched.total() == before, watched.asked[-5:]
        server.stop()
        path = server.folder / "signed.test.zone"
        path.write_text(path.read_text().replace("brief 1 A 127.0.0.1", "brief 1 A 127.0.0.2").replace("mx1 A 127.0.0.1", "mx1 A 127.0.0.2"))
        server.sign("signed.test")
        server.start(server.port)
        harness.wait_for("the brief record is asked for again", lambda: records(gateway, "brief.signed.test") == ["127.0.0.2"])
        assert records(gateway, "mx1.signed.test") == ["127.0.0.1"], "five minutes are not over"


def test_3_11_without_the_anchor_of_the_root_a_warning_says_what_that_means(make_gateway, zones):
    """Nothing outside the zones of trust_anchor_file is validated then: DANE is off without a word from anybody else."""
    root = harness.make_folder() / "root"
    root.write_text(zones.anchor.read_text() + ". IN DS 20326 8 2 E06D44B80B8F1D39A95C0B0D7C65D08458E880409BBC683457104237C7F8EC8D\n")
    none = [{"domain": "default", "tls": "preferred", "dane": "none"}]
    gateway = make_gateway(start=False)
    for anchors, destinations, warns in ((zones.anchor, None, True), (root, None, False), (None, None, False), (zones.anchor, none, False)):
        gateway.configure(harness.settings(dns=zones.settings(trust_anchor_file=anchors and str(anchors)),
            **({"destinations": destinations} if destinations else {})))
        done = gateway.command("check")
        assert done.returncode == 0, done.stderr
        assert ("dns.trust_anchor_file: `" in done.stderr and "has no anchor for the root" in done.stderr) == warns, (anchors, done.stderr)
        assert gateway.command("check", "--json").returncode == 0
