"""Demands of several sources at once, as one delivery meets them: DANE beside levels, logins, lists and unsigned MX records, and at a smart
host. Requirements B71, C11, C12, F1-F3; conformance 2.12, 2.33, 3.08, 3.10."""

import contextlib

import pytest

import dns
import harness
import smtp
from test_hosts import outward
from test_outbound_tls import make_certificate, own_pki, tlsa  # noqa: F401 (a fixture)

GOOD, BAD = "good", "bad"


class Scene:
    """A server mx.host.test in a zone that is signed, with TLSA records of its own key (GOOD), of another (BAD) or none; its certificate is by our
    authority, or by itself. Mail to bob@far.test goes there by MX, far.test being signed or not; or by a route."""

    def __init__(self, make_gateway, make_peer, pki, records, ours=True, far=dns.SIGNED, host=dns.SIGNED, routed=False, names=("mx.host.test",),
            destinations=(), peer=None, **more):
        certificate = make_certificate(pki, "host", names, ours)
        self.peer = make_peer(pki=certificate, **(peer or {}))
        lines = {GOOD: tlsa(certificate), BAD: "TLSA 3 1 1 " + "00" * 32}
        record = f"_{self.peer.port}._tcp.mx {lines[records]}" if records else ""
        self.server = dns.Server({"host.test": dns.Zone(f"mx A 127.0.0.1\n{record}", host), "far.test": dns.Zone("@ MX 10 mx.host.test.", far)})
        settings = {"authorities": {"system": False, "custom": str(pki.ca)}, "destinations": list(destinations), **more}
        if routed:
            settings["routes"] = [{"domain": "default", "next_hop": f"mx.host.test:{self.peer.port}", **(routed if routed is not True else {})}]
        self.make = lambda names: make_gateway(outward(self.peer.port, names, **settings), start=False)

    @contextlib.contextmanager
    def run(self):
        with self.server as server:
            self.gateway = self.make(server.settings())
            (self.gateway.folder / "secret").write_text("geheim\n")
            (self.gateway.folder / "secret").chmod(0o600)
            yield self.gateway.start()

    def deliver(self, state):
        """The evidence of the one attempt, with its reply."""
        smtp.submit(self.gateway.address(), "alice@sender.test", "bob@far.test", harness.message())
        attempt = self.gateway.tracked(state, sender="alice@sender.test")["recipients"][0]["attempts"][-1]
        assert (self.peer.messages != []) == (state == "delivered")
        assert state == "delivered" or attempt["reply"].startswith("450 4.7.5 TLS: "), attempt
        return {**attempt["tls"], "reply": attempt["reply"]}


def level(word, domain="far.test", **more):
    return [{"domain": domain, "tls": word, **more}]


# records, zone of the host, what is found and becomes of it
SMART = [(GOOD, dns.SIGNED, "usable", "delivered", "verified"), (BAD, dns.SIGNED, "usable", "deferred", "encrypted"),
    (None, dns.SIGNED, "absent", "delivered", "encrypted"), (BAD, dns.INSECURE, "insecure-host", "delivered", "encrypted")]


@pytest.mark.parametrize("records,zone,finding,state,obtained", SMART, ids=["match", "mismatch", "none", "unsigned"])
def test_2_33_3_10_a_smart_host_is_known_by_its_own_name_and_port(make_gateway, make_peer, own_pki, records, zone, finding, state, obtained):
    """far.test is not signed and has other servers; nobody asks for it."""
    scene = Scene(make_gateway, make_peer, own_pki, records, ours=False, far=dns.INSECURE, host=zone, routed=True)
    with scene.run():
        evidence = scene.deliver(state)
        assert (evidence["facts"]["dane"]["finding"], evidence["obtained"]) == (finding, obtained)
        assert evidence["facts"]["mx_secure"]
        if finding == "usable":
            assert evidence["facts"]["dane"]["base"] == "mx.host.test" and evidence["policy"]["decided_by"] == "dane"


def test_2_33_an_entry_for_the_domain_outranks_what_is_found_out_about_the_smart_host(make_gateway, make_peer, own_pki):
    scene = Scene(make_gateway, make_peer, own_pki, GOOD, routed=True, destinations=level("required-verify"))
    with scene.run():
        evidence = scene.deliver("deferred")
        assert evidence["policy"]["checks"] == ["dane", "domain"] and evidence["connection"]["passed"] == ["dane", "hosted"]
        assert evidence["policy"]["decided_by"] == "destination-required"


# level, names of the certificate, by our authority -> passed, what becomes of it
BOTH = [("required-verify", "*.test", True, ["dane"], "deferred"), ("required-verify", "far.test", True, ["dane", "domain", "hosted"], "delivered"),
    ("required-verify", "far.test", False, ["dane"], "deferred"), ("required-verify-hosted", "mx.host.test", True, ["dane", "hosted"], "delivered"),
    ("required-verify-hosted", "mx.host.test", False, ["dane"], "deferred"), ("preferred-verify", "mx.host.test", False, ["dane"], "delivered"),
    ("required", "mx.host.test", False, ["dane"], "delivered")]


@pytest.mark.parametrize("word,name,ours,passed,state", BOTH, ids=[f"{b[0]}-{b[1]}-{b[2]}" for b in BOTH])
def test_F3_who_demands_a_name_gets_it_although_the_records_match(make_gateway, make_peer, own_pki, word, name, ours, passed, state):
    scene = Scene(make_gateway, make_peer, own_pki, GOOD, ours=ours, names=(name,), destinations=level(word))
    with scene.run():
        evidence = scene.deliver(state)
        assert evidence["connection"]["passed"] == passed, evidence["checks"]
        assert (evidence["obtained"] == "verified") == (state == "delivered")
        assert "dane" in evidence["policy"]["checks"]


@pytest.mark.parametrize("ours,records,state", [(True, GOOD, "delivered"), (False, GOOD, "deferred"), (True, BAD, "deferred")],
    ids=["both", "only_DANE", "only_the_authority"])
def test_2_12_F1_a_login_wants_the_host_besides_dane(make_gateway, make_peer, own_pki, ours, records, state):
    scene = Scene(make_gateway, make_peer, own_pki, records, ours=ours, peer={"offers": ("AUTH PLAIN",)},
        routed={"username": "gw", "password_file": "secret"})
    with scene.run():
        evidence = scene.deliver(state)
        assert evidence["policy"]["checks"] == ["dane", "host"]
        assert evidence["policy"]["decided_by"] == "route" and [d["source"] for d in evidence["policy"]["demands"]] == ["route", "dane",
            "destination-preferred"]
        assert [session.account for session in scene.peer.sessions] == ([("gw", "geheim")] if state == "delivered" else [None])


# setting -> of a server that matches its records, of one that does not
INSECURE_MX = {"dane": (("delivered", "trusted"), ("deferred", "encrypted")), "encrypt": (("delivered", "encrypted"), ("delivered", "encrypted")),
    "may": (("delivered", "encrypted"), ("delivered", "encrypted"))}


@pytest.mark.parametrize("records", [GOOD, BAD])
@pytest.mark.parametrize("setting", INSECURE_MX)
def test_3_08_records_of_a_host_that_unsigned_MX_records_name(make_gateway, make_peer, own_pki, setting, records):
    scene = Scene(make_gateway, make_peer, own_pki, records, ours=False, far=dns.INSECURE, tls={"dane_insecure_mx": setting})
    with scene.run() as gateway:
        state, obtained = INSECURE_MX[setting][records == BAD]
        evidence = scene.deliver(state)
        assert evidence["obtained"] == obtained and not evidence["facts"]["mx_secure"]
        assert evidence["policy"]["tls"] == ("may" if setting == "may" else "must")
        assert evidence["facts"]["dane"]["finding"] == ("insecure-mx" if setting == "may" else "usable-insecure-mx")
        assert " tls=verified" not in gateway.stderr()


@pytest.mark.parametrize("setting", ["encrypt", "may"])
def test_3_08_where_records_only_encrypt_nothing_goes_in_clear(make_gateway, make_peer, own_pki, setting):
    scene = Scene(make_gateway, make_peer, own_pki, GOOD, far=dns.INSECURE, tls={"dane_insecure_mx": setting}, peer={"starttls": "absent"})
    with scene.run():
        scene.deliver("delivered" if setting == "may" else "deferred")


def test_3_08_B81_mandatory_dane_waits_for_signed_MX_records(make_gateway, make_peer, own_pki):
    scene = Scene(make_gateway, make_peer, own_pki, GOOD, far=dns.INSECURE, destinations=level("preferred", dane="mandatory"))
    with scene.run():
        evidence = scene.deliver("deferred")
        assert "DANE is mandatory, and the MX records are not signed" in evidence["reply"]
        assert evidence["policy"]["hold"] == "defer" and not scene.peer.sessions


# in both lists, starttls_when_possible, the server's STARTTLS -> what becomes of it
LISTED = [(True, True, "good", "delivered"), (True, True, "absent", "deferred"), (False, False, "good", "delivered"), (False, False, "absent", "deferred")]


@pytest.mark.parametrize("both,possible,starttls,state", LISTED)
def test_C11_C12_the_required_list_wins_over_the_allow_list_and_the_switch(make_gateway, make_peer, own_pki, both, possible, starttls, state):
    lists = {"starttls_required": ["mx.host.test"], "starttls_when_possible": possible, **({"starttls_never": ["127.0.0.1"]} if both else {})}
    scene = Scene(make_gateway, make_peer, own_pki, GOOD, peer={"starttls": starttls}, destinations=[{"domain": "far.test", "dane": "none"}], tls=lists)
    with scene.run():
        evidence = scene.deliver(state)
        assert (evidence["policy"]["tls"], evidence["policy"]["decided_by"], evidence["policy"]["conflict"]) == ("must", "required-list", False)
        dropped = [demand["source"] for demand in evidence["policy"]["demands"] if demand["dropped"]]
        assert dropped == (["allow-list"] if both else ["destination-none"])
