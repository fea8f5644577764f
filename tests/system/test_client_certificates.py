"""Certificates that the gateway shows to servers, and authorities of single destinations (B52, 2.14 to 2.16)."""

import json
import os
import re
import signal
import ssl

import pytest

import harness
import peer as scripted
import smtp
from test_conformance_processes import as_root, memory_holds
from test_keys import certificates, fingerprint, make_certificate, numbers_of, restarted
from test_postfix import make_postfix  # noqa: F401 (a fixture)

LISTENER = {"name": "inbound", "type": "private", "address": "127.0.0.1:0", "policy": "relayed", "certificate": "server"}


def make_client(pki, name, kind="P-256", issuer=None):
    """A key and a certificate of our authority (or another one) for a client, in the folder of `pki`."""
    issuer = issuer or pki
    key = ["-newkey", "rsa:2048"] if kind == "rsa" else ["-newkey", "ec", "-pkeyopt", f"ec_paramgen_curve:{kind}"]
    (pki.folder / "client.ext").write_text("basicConstraints=critical,CA:false\nextendedKeyUsage=clientAuth\n")
    pki._openssl("req", *key, "-nodes", "-keyout", f"{name}.key", "-out", f"{name}.csr", "-subj", f"/CN={name}.good.test")
    pki._openssl("x509", "-req", "-in", f"{name}.csr", "-CA", issuer.ca, "-CAkey", issuer.folder / "ca.key", "-CAcreateserial", "-days", 90, "-extfile",
        "client.ext", "-out", f"{name}.pem")
    (pki.folder / f"{name}.key").chmod(0o600)
    return fingerprint(pki.folder / f"{name}.pem")


@pytest.fixture
def own_pki(tmp_path):
    """An authority and its files, for this test alone."""
    return harness.Pki(tmp_path / "own")


def settings(routes, *names, **more):
    """Routes: recipient domain -> address."""
    return harness.settings(**{"certificates": certificates("server", *names), "listeners": [LISTENER], "accepted_domains": None,
        "mail_flow_policies": [{"name": "relayed", "action": "relay"}], "delivery": {"retry": ["1s"]},
        "routes": [{"domain": domain, "next_hop": address} for domain, address in routes.items()], **more})


@pytest.fixture
def start(own_pki):
    """start(settings) -> a gateway with the files of `own_pki`."""
    made = []

    def make(configuration):
        made.append(harness.Gateway(own_pki, configuration))
        return made[-1].start()

    yield make
    for gateway in made:
        gateway.stop()
        gateway.assert_clean()


def send(gateway, domain, sender="alice@sender.test"):
    return smtp.submit(gateway.address(), sender, f"bob@{domain}", harness.message())


def attempt_of(record):
    return record["recipients"][0]["attempts"][-1]


VERSIONS = {"1.2": ssl.TLSVersion.TLSv1_2, "1.3": ssl.TLSVersion.TLSv1_3}


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("kind", ["P-256", "P-384", "rsa"])
def test_B52_a_server_that_asks_is_shown_the_certificate(start, own_pki, version, kind):
    shown = make_client(own_pki, "client", kind)
    with scripted.Peer(own_pki) as peer:
        peer.ask(own_pki.ca, require=True)
        peer.context.minimum_version = peer.context.maximum_version = VERSIONS[version]
        gateway = start(settings({"good.test": peer.address}, "client", destination_settings={"certificate": "client"}))
        send(gateway, "good.test")
        gateway.tracked("delivered", sender="alice@sender.test")
        assert [(s.certificate, s.tls) for s in peer.sessions] == [(shown, f"TLSv{version}")]


def test_B52_each_destination_shows_its_own_certificate(start, own_pki):
    """One server for four domains: the certificate of the entry, of a parent, the global one; nobody's session is another's (2.15, 2.16)."""
    shown = {name: make_client(own_pki, name) for name in ("all", "one", "below")}
    with scripted.Peer(own_pki) as peer:
        peer.ask(own_pki.ca)
        domains = {"one.test": "one", "x.two.test": "below", "y.two.test": "one", "three.test": "all"}
        gateway = start(settings({domain: peer.address for domain in domains}, *shown, destination_settings={"certificate": "all"},
            tls_profiles=[{"name": "narrow", "max_version": "1.2"}],
            destinations=[{"domain": "one.test", "certificate": "one"}, {"domain": ".two.test", "certificate": "below", "tls_profile": "narrow"},
                {"domain": "y.two.test", "certificate": "one"}]))
        for turn in range(2):
            for domain in domains:
                sender = f"{domain}@{turn}.test"
                send(gateway, domain, sender)
                gateway.tracked("delivered", sender=sender)
        heard = {(m.recipients[0].split("@")[1], s.certificate, s.tls) for s in peer.sessions for m in s.messages}
        assert heard == {(d, shown[name], "TLSv1.2" if "two" in d else "TLSv1.3") for d, name in domains.items()}
        assert len(peer.messages) == 2 * len(domains)


def test_B52_who_names_no_certificate_shows_none(start, own_pki):
    make_client(own_pki, "client")
    with scripted.Peer(own_pki) as peer:
        peer.ask(own_pki.ca)
        gateway = start(settings({"good.test": peer.address, "other.test": peer.address}, "client",
            destinations=[{"domain": "other.test", "certificate": "client"}]))
        send(gateway, "good.test")
        gateway.tracked("delivered", sender="alice@sender.test")
        assert [s.certificate for s in peer.sessions] == [None]


def test_B52_postfix_knows_the_gateway_by_its_certificate(start, own_pki, make_postfix):  # noqa: F811
    make_client(own_pki, "client")
    postfix = make_postfix(more=f"smtpd_tls_ask_ccert = yes\nsmtpd_tls_CAfile = {own_pki.ca}\nsmtpd_tls_session_cache_database =\n")
    gateway = start(settings({"good.test": postfix.address}, "client", destination_settings={"certificate": "client"}))
    send(gateway, "good.test")
    gateway.tracked("delivered", sender="alice@sender.test")
    text = re.sub(r"\n\s+", " ", harness.wait_for("the mail is in the mailbox", postfix.mailbox))
    assert '(Client CN "client.good.test", Issuer "Test CA" (verified OK))' in text, text


def test_B52_a_reload_exchanges_the_certificate(start, own_pki):
    first, second = make_client(own_pki, "first"), make_client(own_pki, "second")
    with scripted.Peer(own_pki) as peer:
        peer.ask(own_pki.ca)
        configuration = settings({"good.test": peer.address}, "first", "second", destination_settings={"certificate": "first"})
        gateway = start(configuration)
        send(gateway, "good.test", "one@sender.test")
        gateway.tracked("delivered", sender="one@sender.test")
        configuration["destination_settings"] = {"certificate": "second"}
        gateway.configure(configuration)
        assert gateway.command("reload").returncode == 0
        send(gateway, "good.test", "two@sender.test")
        gateway.tracked("delivered", sender="two@sender.test")
        assert [s.certificate for s in peer.sessions] == [first, second]


# Refused


@pytest.mark.parametrize("implicit", [False, True], ids=["starttls", "implicit_tls"])
@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("level", ["preferred", "required"])
def test_2_14_a_certificate_that_is_refused_is_a_failure_of_tls(start, own_pki, tmp_path, version, level, implicit):
    """With TLS 1.3 the alert comes behind the handshake, at the first that is read."""
    make_client(own_pki, "client")
    strange = harness.Pki(tmp_path / "strange")
    with scripted.Peer(own_pki, implicit_tls=implicit) as peer:
        peer.ask(strange.ca, require=True)
        peer.context.minimum_version = peer.context.maximum_version = VERSIONS[version]
        configuration = settings({"good.test": peer.address}, "client", destination_settings={"certificate": "client"},
            destinations=[{"domain": "default", "tls": level}], delivery={"retry": ["1h"]}, metrics={"address": "127.0.0.1:0"})
        configuration["routes"][0]["implicit_tls"] = implicit
        gateway = start(configuration)
        send(gateway, "good.test")
        attempt = attempt_of(gateway.tracked("deferred", sender="alice@sender.test"))
        assert attempt["reply"].startswith("450 4.7.5 TLS: ") and "alert unknown ca" in attempt["reply"], attempt
        assert ("the peer ended TLS after the handshake" in attempt["reply"]) == (version == "1.3")
        assert (attempt["tls"]["obtained"], attempt["tls"]["connection"]["outcome"]) == ("none", "handshake-failed"), attempt["tls"]
        assert re.search(r" tls_failed .*alert unknown ca", gateway.stderr())
        assert not any({"MAIL", "RCPT"} & set(s.verbs()) for s in peer.sessions), "never in clear"
        peer.context.load_verify_locations(own_pki.ca)
        assert gateway.command("queue", "flush", "--all").returncode == 0
        gateway.tracked("delivered", sender="alice@sender.test")


@pytest.mark.parametrize("shown", [True, False])
@pytest.mark.parametrize("version", VERSIONS)
def test_2_14_C6_a_server_that_refuses_it_never_gets_onto_the_temporary_list(start, own_pki, tmp_path, version, shown):
    """Its TLS works; neither this mail nor another one goes there in clear."""
    make_client(own_pki, "client")
    with scripted.Peer(own_pki) as peer:
        peer.ask(harness.Pki(tmp_path / "strange").ca, require=True)
        peer.context.minimum_version = peer.context.maximum_version = VERSIONS[version]
        gateway = start(settings({"good.test": peer.address, "other.test": peer.address}, "client",
            destinations=[{"domain": "good.test", "certificate": "client"}] if shown else [],
            tls={"retry_without_tls": True}, delivery={"retry": ["1h"]}))
        for sender, domain in (("alice@sender.test", "good.test"), ("bob@sender.test", "other.test")):
            send(gateway, domain, sender)
            assert "450 4.7.5 TLS: " in attempt_of(gateway.tracked("deferred", sender=sender))["reply"]
            assert gateway.json("tls", "temporary")["hosts"] == []
            for command in (["explain", domain, "--live"], ["tls", "verify", domain]):
                live = json.loads(gateway.command(*command, "--json").stdout)["servers"][0]["live"]
                assert live["sent"] == "nothing", live
            assert live["levels"]["preferred"]["sent"] == ("nothing" if live["connection"]["outcome"] == "handshake-failed" else "encrypted"), live
        assert peer.messages == []


@pytest.mark.parametrize("version", VERSIONS)
def test_2_14_no_certificate_where_one_is_required(start, own_pki, version):
    with scripted.Peer(own_pki) as peer:
        peer.ask(own_pki.ca, require=True)
        peer.context.minimum_version = peer.context.maximum_version = VERSIONS[version]
        gateway = start(settings({"good.test": peer.address}, delivery={"retry": ["1h"]}))
        send(gateway, "good.test")
        attempt = attempt_of(gateway.tracked("deferred", sender="alice@sender.test"))
        assert attempt["reply"].startswith("450 4.7.5 TLS: ") and re.search("alert (certificate required|handshake failure)", attempt["reply"]), attempt


# The keys


def test_B52_mail_survives_the_loss_of_keys(start, own_pki):
    """Each connection needs a signature; `keys` is killed while they are opened."""
    make_client(own_pki, "client")
    with scripted.Peer(own_pki) as peer:
        peer.ask(own_pki.ca, require=True)
        peer.context.options |= ssl.OP_NO_TICKET
        configuration = settings({f"d{i}.test": peer.address for i in range(40)}, "client", destination_settings={"certificate": "client"},
            destinations=[{"domain": "default", "tls": "required", "concurrency": 1}])
        gateway = start(configuration)
        for i in range(40):
            send(gateway, f"d{i}.test", f"s{i}@sender.test")
            if i in (10, 25):
                restarted(gateway, "keys", gateway.roles()["keys"]["pid"])
        peer.wait(40)
        harness.wait_for("all are delivered", lambda: all(r["state"] == "delivered" for record in gateway.track(since="1h") for r in record["recipients"]))
        assert sorted(m.sender for m in peer.messages) == sorted(f"s{i}@sender.test" for i in range(40))
        assert {s.certificate for s in peer.sessions if s.messages} == {fingerprint(own_pki.folder / "client.pem")}


def test_B52_keys_that_do_not_answer_delay_a_delivery_and_no_more(start, own_pki):
    """The handshake ends, the mail waits, and goes when they are back."""
    make_client(own_pki, "client")
    with scripted.Peer(own_pki) as peer:
        peer.ask(own_pki.ca, require=True)
        gateway = start(settings({"good.test": peer.address}, "client", destination_settings={"certificate": "client"}))
        pid = gateway.roles()["keys"]["pid"]
        os.kill(pid, signal.SIGSTOP)
        try:
            smtp.submit(gateway.address(), "alice@sender.test", "bob@good.test", harness.message(), tls=False)
            gateway.tracked("deferred", sender="alice@sender.test")
            assert re.search(r" key_not_used .*certificate=client ", gateway.stderr())
        finally:
            os.kill(pid, signal.SIGCONT)
        gateway.tracked("delivered", sender="alice@sender.test")
        assert not any(s.said_in_clear("MAIL") for s in peer.sessions)


@as_root
def test_11_39_the_key_of_a_client_certificate_is_in_the_memory_of_keys_only(start, own_pki):
    for name, kind in (("client", "P-256"), ("other", "rsa")):
        make_client(own_pki, name, kind)
    with scripted.Peer(own_pki) as peer:
        peer.ask(own_pki.ca, require=True)
        gateway = start(settings({"good.test": peer.address, "other.test": peer.address}, "client", "other",
            destination_settings={"certificate": "client"}, destinations=[{"domain": "other.test", "certificate": "other"}]))
        for domain in ("good.test", "other.test"):
            send(gateway, domain, f"{domain}@sender.test")
            gateway.tracked("delivered", sender=f"{domain}@sender.test")
        words = numbers_of(gateway.folder / "pki/client.key") | numbers_of(gateway.folder / "pki/other.key")
        found = {name: memory_holds(role["pid"], words) for name, role in gateway.roles().items()}
        assert len(found.pop("keys")) >= 3, "the scalar and both primes: the search can find them"
        assert "deliver" in found and not any(found.values()), found


# Authorities of destinations


def make_server(folder, domain, authority):
    """What a scripted server needs: a certificate of `authority` for `domain`."""
    pki = harness.Pki(folder)
    (pki.folder / "server.ext").write_text(f"subjectAltName=DNS:{domain}\nbasicConstraints=critical,CA:false\n")
    pki._openssl("x509", "-req", "-in", "server.csr", "-CA", authority.ca, "-CAkey", authority.folder / "ca.key", "-CAcreateserial", "-days", 90, "-extfile",
        "server.ext", "-out", pki.server)
    return pki


def test_B44_a_destination_trusts_its_own_authorities_and_no_others(start, own_pki, tmp_path):
    partner = harness.Pki(tmp_path / "partner")
    (own_pki.folder / "partner.pem").write_bytes(partner.ca.read_bytes())
    servers = {"ours.test": own_pki, "partner.test": partner, "wrong.test": own_pki, "strange.test": partner}
    with scripted.Peer(make_server(tmp_path / "s1", "ours.test", own_pki)) as ours, scripted.Peer(make_server(tmp_path / "s2", "partner.test", partner)) as theirs, \
            scripted.Peer(make_server(tmp_path / "s3", "wrong.test", own_pki)) as wrong, scripted.Peer(make_server(tmp_path / "s4", "strange.test", partner)) as strange:
        peers = dict(zip(servers, (ours, theirs, wrong, strange)))
        gateway = start(settings({domain: peer.address for domain, peer in peers.items()}, delivery={"retry": ["1h"]},
            destinations=[{"domain": "default", "tls": "required-verify"}, {"domain": "partner.test", "authorities": {"custom": "pki/partner.pem"}},
                {"domain": "wrong.test", "authorities": {"custom": "pki/partner.pem"}}]))
        for domain in servers:
            send(gateway, domain, f"{domain}@sender.test")
        for domain in ("ours.test", "partner.test"):
            attempt = attempt_of(gateway.tracked("delivered", sender=f"{domain}@sender.test"))
            assert attempt["tls"]["obtained"] == "verified", attempt
        for domain in ("wrong.test", "strange.test"):
            attempt = attempt_of(gateway.tracked("deferred", sender=f"{domain}@sender.test"))
            assert "unable to get local issuer certificate" in attempt["reply"], attempt
            assert not peers[domain].messages
        (own_pki.folder / "partner.pem").write_bytes(b"")


def test_watched_authorities_of_a_destination_count_without_a_reload(start, own_pki, tmp_path):
    partner = harness.Pki(tmp_path / "partner")
    with scripted.Peer(make_server(tmp_path / "s", "good.test", partner)) as peer:
        (own_pki.folder / "partner.pem").write_bytes(own_pki.ca.read_bytes())
        gateway = start(settings({"good.test": peer.address}, destinations=[{"domain": "good.test", "tls": "required-verify",
            "authorities": {"custom": "pki/partner.pem"}}]))
        send(gateway, "good.test")
        gateway.tracked("deferred", sender="alice@sender.test")
        (gateway.folder / "pki/partner.new").write_bytes(partner.ca.read_bytes())
        (gateway.folder / "pki/partner.new").rename(gateway.folder / "pki/partner.pem")
        gateway.tracked("delivered", sender="alice@sender.test")


# What is said about it


def test_B52_check_looks_at_what_a_certificate_is_for(make_gateway):
    gateway = make_gateway(start=False)
    make_certificate(gateway.folder / "pki", "plain", "P-256")
    pki = gateway.folder / "pki"
    (pki / "only.ext").write_text("extendedKeyUsage=serverAuth\n")
    done = harness.run("openssl", "x509", "-req", "-in", pki / "server.csr", "-CA", pki / "ca.pem", "-CAkey", pki / "ca.key", "-CAcreateserial", "-days", "90",
        "-extfile", pki / "only.ext", "-out", pki / "server.pem")
    assert done.returncode == 0, done.stderr
    for certificate, warns in (("main", True), ("plain", False)):
        base = harness.settings(destination_settings={"certificate": certificate})
        base["certificates"] += certificates("plain")
        gateway.configure(base)
        checked = gateway.command("check")
        assert checked.returncode == 0 and ("extendedKeyUsage without clientAuth" in checked.stderr) == warns, checked.stderr


def test_B52_cert_list_says_which_deliveries_show_it(make_gateway):
    gateway = make_gateway(start=False)
    assert gateway.command("cert", "create", "web", "--common-name", "web.good.test").returncode == 0
    base = harness.settings(destination_settings={"certificate": "web"})
    base["certificates"].append({"name": "web"})
    base["destinations"] += [{"domain": "partner.test", "certificate": "web"}, {"domain": "other.test", "certificate": "main"}]
    gateway.configure(base)
    assert gateway.json("cert", "list")["uses"] == ["delivery", "delivery to partner.test"]
    assert "used by delivery, delivery to partner.test" in gateway.command("cert", "list").stdout
    gateway.start()
    assert gateway.command("cert", "delete", "web", "--yes").returncode != 0, "it is needed"


def test_B52_status_says_which_certificate_servers_see_and_when_it_ends(start, own_pki):
    make_client(own_pki, "client")
    harness.sign_dated(own_pki.folder, "client.csr", "client.pem", -1, 5, "ca.key", "ca.pem")
    with scripted.Peer(own_pki) as peer:
        gateway = start(settings({"good.test": peer.address}, "client", destinations=[{"domain": "good.test", "certificate": "client"}]))
        shown = {c["name"]: (c["delivery"], c["state"]) for c in gateway.status()["certificates"]}
        assert shown == {"server": (False, "fine"), "client": (True, "expires")}
        assert re.search(r"  client +expires \S+, shown to servers that ask for one\n", gateway.command("status").stdout)
        assert re.search(r" certificate_expires certificate=client ", gateway.stderr())
        assert "certificates[client].chain" in gateway.command("check").stderr


def test_B52_files_that_are_exchanged_count_without_a_reload(start, own_pki):
    first = make_client(own_pki, "client")
    with scripted.Peer(own_pki) as peer:
        peer.ask(own_pki.ca)
        gateway = start(settings({"good.test": peer.address}, "client", destination_settings={"certificate": "client"}))
        send(gateway, "good.test", "one@sender.test")
        gateway.tracked("delivered", sender="one@sender.test")
        second = make_client(own_pki, "client", "rsa")
        for kind in ("key", "pem"):
            (gateway.folder / f"pki/client.{kind}.new").write_bytes((own_pki.folder / f"client.{kind}").read_bytes())
            (gateway.folder / f"pki/client.{kind}.new").rename(gateway.folder / f"pki/client.{kind}")
        harness.wait_for("the new one is in use", lambda: [c["fingerprint_sha256"] for c in gateway.status()["certificates"] if c["delivery"]] == [second])
        send(gateway, "good.test", "two@sender.test")
        gateway.tracked("delivered", sender="two@sender.test")
        assert [s.certificate for s in peer.sessions] == [first, second]
