"""A day with trust: what an administrator did who had only the README and the pages it names, in his order and with his commands (only
ports and names are ours). Certificates from a CA, files that certbot exchanges, lists of authorities, a smart host that is revoked."""

import hashlib
import json
import re
import ssl
import types

import pytest

import crl
import harness
import ocsp
import peer as scripted
import smtp
from test_cert import openssl, presented
from test_crl import listed, update
from test_watch import replace

CONFIGURATION = """[ca]
default_ca = d
[d]
database = index.txt
serial = serial
crlnumber = crlnumber
new_certs_dir = .
certificate = ca.pem
private_key = ca.key
default_md = sha256
default_days = 90
default_crl_days = 1
policy = p
copy_extensions = copy
unique_subject = no
[p]
commonName = supplied
organizationName = optional
countryName = optional
"""


class Ca:
    """The administrator's authority: `openssl ca`, whose one index says what its lists and its responder say."""

    def __init__(self, folder, name="Our CA"):
        self.folder = folder
        folder.mkdir()
        for file, text in (("ca.cnf", CONFIGURATION), ("index.txt", ""), ("serial", "1000\n"), ("crlnumber", "01\n")):
            (folder / file).write_text(text)
        openssl(folder, "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", 90, "-subj", f"/CN={name}",
            "-addext", "keyUsage=critical,keyCertSign,cRLSign", "-keyout", "ca.key", "-out", "ca.pem")
        self.pem = folder / "ca.pem"
        self.request("signer", "OCSP signer")
        self.sign("signer", "extendedKeyUsage=OCSPSigning\nnoCheck=ignored\n")

    def request(self, file, name, *alternatives):
        """A key and a request of somebody else's."""
        openssl(self.folder, "req", "-newkey", "rsa:2048", "-nodes", "-subj", f"/CN={name}", *(["-addext",
            "subjectAltName=" + ",".join(alternatives)] if alternatives else []), "-keyout", f"{file}.key", "-out", f"{file}.csr")

    def sign(self, file, extensions="", *more):
        """FILE.pem, of FILE.csr: another certificate each time."""
        (self.folder / "ext").write_text("basicConstraints=critical,CA:false\n" + extensions)
        openssl(self.folder, "ca", "-batch", "-notext", "-config", "ca.cnf", "-extfile", "ext", "-in", f"{file}.csr", "-out", f"{file}.pem", *more)
        return self.folder / f"{file}.pem"

    def revoke(self, file):
        openssl(self.folder, "ca", "-config", "ca.cnf", "-revoke", f"{file}.pem", "-crl_reason", "keyCompromise")

    def list(self, *more):
        openssl(self.folder, "ca", "-config", "ca.cnf", "-gencrl", "-out", "list.pem", *more)
        openssl(self.folder, "crl", "-in", "list.pem", "-outform", "der", "-out", "list.crl")
        return (self.folder / "list.crl").read_bytes()

    def answer(self, request, minutes=60):
        """For ocsp.Responder."""
        (self.folder / "request.der").write_bytes(request)
        openssl(self.folder, "ocsp", "-index", "index.txt", "-CA", "ca.pem", "-rsigner", "signer.pem", "-rkey", "signer.key", "-nmin", minutes,
            "-reqin", "request.der", "-respout", "response.der")
        return (self.folder / "response.der").read_bytes()


@pytest.fixture
def ca(tmp_path):
    return Ca(tmp_path / "ca")


def typed(gateway, *arguments, code=0):
    """One command of the administrator's; what it said."""
    done = gateway.command(*arguments)
    assert done.returncode == code, (arguments, done.returncode, done.stdout, done.stderr)
    return done.stdout + done.stderr


def fingerprint(file):
    pem = file.read_text()
    return hashlib.sha256(ssl.PEM_cert_to_DER_cert(pem[pem.index("-----BEGIN"):])).hexdigest()


def key_digest(folder, file):
    """What stands in its TLSA record, as OpenSSL computes it."""
    (folder / "public").write_text(openssl(folder, "x509", "-in", file, "-noout", "-pubkey"))
    openssl(folder, "pkey", "-pubin", "-in", "public", "-outform", "der", "-out", "public.der")
    return hashlib.sha256((folder / "public.der").read_bytes()).hexdigest()


def house(*certificates, **more):
    return harness.settings(certificates=list(certificates), listeners=[{"name": "inbound", "type": "public", "address": "127.0.0.1:0",
        "certificate": [certificate["name"] for certificate in certificates], "policy": "accepted"}], **more)


def shown_for(gateway, name, authority):
    """Who a client that asks for `name` and trusts our authority only sees: the common name."""
    host, port = gateway.address()
    done = harness.run("openssl", "s_client", "-starttls", "smtp", "-connect", f"{host}:{port}", "-servername", name, "-CAfile", authority.pem,
        "-verify_return_error", "-brief")
    assert "Verification: OK" in done.stderr, done.stderr
    return re.search(r"Peer certificate: CN = ([^,\s]+)", done.stderr).group(1)


def test_a_certificate_from_our_ca_and_a_second_one_chosen_by_name(make_gateway, ca):
    gateway = make_gateway(house({"name": "web"}), start=False)
    assert "make it with `postern cert create web" in typed(gateway, "check", code=1)
    typed(gateway, "cert", "create", "web", "--common-name", "gw.good.test", "--alt", "mail.good.test", "--organization", "Good", "--country", "JP")
    assert "--replace" in typed(gateway, "cert", "create", "web", "--common-name", "gw.good.test", code=1)
    gateway.start()

    (ca.folder / "web.csr").write_text(typed(gateway, "cert", "csr", "web"))
    signed = ca.sign("web")
    said = typed(gateway, "cert", "upload", "web", "--in", signed, "--chain", ca.pem)
    assert "and in use" in said and "the root `CN=Our CA` was left out" in said
    assert presented(gateway) == fingerprint(signed)

    typed(gateway, "cert", "create", "other", "--common-name", "mx2.other.test", "--key", "p256")
    (ca.folder / "other.csr").write_text(typed(gateway, "cert", "csr", "other"))
    typed(gateway, "cert", "upload", "other", "--in", ca.sign("other"), "--chain", ca.pem)
    gateway.configure(house({"name": "web"}, {"name": "other"}))
    typed(gateway, "reload")
    for name, expected in (("gw.good.test", "gw.good.test"), ("mx2.other.test", "mx2.other.test"), ("nobody.test", "gw.good.test")):
        assert shown_for(gateway, name, ca) == expected
    shown = {c["name"]: c for c in gateway.status()["listeners"][0]["certificates"]}
    assert {name: c["fingerprint_sha256"] for name, c in shown.items()} == {name: fingerprint(ca.folder / f"{name}.pem") for name in ("web", "other")}
    assert all(c["state"] == "fine" and c["stored"] for c in shown.values())

    digests = {name: key_digest(ca.folder, f"{name}.pem") for name in ("web", "other")}
    record = gateway.json("cert", "tlsa", "web", "--host", "gw.good.test")
    assert record["record"] == f"_25._tcp.gw.good.test. IN TLSA 3 1 1 {digests['web']}"
    assert [(o["certificate"], o["record"].split()[-1]) for o in record["others"]] == [("other", digests["other"])]

    before = presented(gateway)
    assert "no certificate in it belongs to the key" in typed(gateway, "cert", "upload", "web", "--in", ca.folder / "other.pem", code=1)
    ca.sign("web", "", "-startdate", "20200101000000Z", "-enddate", "20210101000000Z")
    assert "has expired; nothing was stored" in typed(gateway, "cert", "upload", "web", "--in", ca.folder / "web.pem", code=1)
    assert "names `web`" in typed(gateway, "cert", "delete", "web", "--yes", code=1)
    assert presented(gateway) == before


class Live:
    """certbot's directories: live/ has links to what is in archive/."""

    def __init__(self, folder, ca):
        self.folder, self.ca, self.number = folder, ca, 0
        for name in ("archive", "live"):
            (folder / name).mkdir()

    def renew(self):
        """Another pair in the archive; its number."""
        self.number += 1
        self.ca.request("live", "files.good.test", "DNS:files.good.test")
        (self.folder / f"archive/fullchain{self.number}.pem").write_bytes(self.ca.sign("live").read_bytes())
        key = self.folder / f"archive/privkey{self.number}.pem"
        key.touch(0o600)
        key.write_bytes((self.ca.folder / "live.key").read_bytes())
        return self.number

    def flip(self, number):
        for name in ("fullchain", "privkey"):
            replace(f"../archive/{name}{number}.pem", self.folder / f"live/{name}.pem")

    def shown(self, number):
        return fingerprint(self.folder / f"archive/fullchain{number}.pem")


def test_files_that_certbot_exchanges_while_a_session_is_open(make_gateway, sink, ca):
    gateway = make_gateway(house({"name": "files", "chain": "live/fullchain.pem", "key": "live/privkey.pem"}, next_hop=sink.address), start=False)
    live = Live(gateway.folder, ca)
    live.flip(live.renew())
    gateway.start()
    with smtp.Client(gateway.address()) as client:
        client.ehlo()
        client.starttls()
        client.ehlo()
        client.envelope(sender="open@sender.test")
        live.flip(live.renew())
        harness.wait_for("the new pair is presented", lambda: presented(gateway) == live.shown(2))
        assert re.search(r" info master refreshed generation=2 parts=certificates", gateway.stderr())

        (gateway.folder / "archive/fullchain3.pem").write_text("nothing of the kind\n")
        (gateway.folder / "archive/privkey3.pem").write_bytes((gateway.folder / "archive/privkey2.pem").read_bytes())
        (gateway.folder / "archive/privkey3.pem").chmod(0o600)
        live.flip(3)
        harness.wait_for("the broken file is refused", lambda: re.search(
            r" error master refresh_refused generation=2 parts=certificates reason=.*live/fullchain.pem: no certificate in PEM form", gateway.stderr()))
        assert presented(gateway) == live.shown(2)
        assert gateway.status()["listeners"][0]["certificates"][0]["fingerprint_sha256"] == live.shown(2)
        assert "no certificate in PEM form" in typed(gateway, "reload", code=1)
        client.data(harness.message())
        client.quit()
    gateway.tracked("delivered", sender="open@sender.test")
    live.number = 3
    live.flip(live.renew())
    harness.wait_for("the next renewal is presented", lambda: presented(gateway) == live.shown(4))


@pytest.fixture
def smart_host(ca):
    """A server with a login, and a certificate of ours that can be exchanged while it runs."""
    ca.request("server", "srv.partner.test", "DNS:srv.partner.test", "IP:127.0.0.1")
    with scripted.Peer(types.SimpleNamespace(server=ca.sign("server"), key=ca.folder / "server.key"), offers=("AUTH PLAIN",)) as server:
        server.context.num_tickets = 0  # a session that is resumed would show the certificate of before

        def renew(extensions=""):
            harness.wait_for("nobody is connected any more", lambda: all(session.ended for session in server.sessions))
            server.context.load_cert_chain(ca.sign("server", extensions), ca.folder / "server.key")
        server.renew = renew
        yield server


@pytest.fixture
def start(make_gateway, smart_host, ca):
    """start(**settings) -> a gateway that logs in to the smart host and trusts our authority alone, by `postern ca`."""
    def make(**settings):
        gateway = make_gateway(trusting(smart_host, **settings), start=False)
        (gateway.folder / "pass").touch(0o600)
        (gateway.folder / "pass").write_text("hunter2\n")
        gateway.start()
        typed(gateway, "ca", "import", ca.pem)
        typed(gateway, "ca", "disable", "system")
        return gateway
    return make


def trusting(server, **settings):
    return harness.settings(hostname="out.good.test", authorities=None, routes=[{"domain": "default", "next_hop": server.address, "username": "gw",
        "password_file": "pass"}], **{"delivery": {"retry": ["15m"]}, **settings})


def attempt(gateway, name, state):
    """Hand a mail in; its attempt, which must end so."""
    smtp.submit(gateway.address(), f"{name}@sender.test", "you@good.test", harness.message())
    return gateway.tracked(state, sender=f"{name}@sender.test")["recipients"][0]["attempts"][-1]


def gave_nothing_away(server):
    """The last connection was closed before the login."""
    return server.sessions[-1].tls and not {"AUTH", "MAIL"} & set(server.sessions[-1].verbs())


def test_whom_we_trust(start, smart_host, ca, tmp_path):
    gateway = start()
    partner = Ca(tmp_path / "partner", "Partner CA")
    bundle = tmp_path / "bundle.pem"
    bundle.write_text(partner.pem.read_text() + (ca.folder / "server.pem").read_text() + ca.pem.read_text())
    said = typed(gateway, "ca", "import", bundle)
    assert "1 added, 2 skipped, 0 unreadable" in said and "it is no authority" in said and "it is in the list already" in said
    assert {a["name"] for a in gateway.json("ca", "list", "custom")["authorities"]} == {"Our CA", "Partner CA"}
    verification = attempt(gateway, "first", "delivered")["tls"]["verification"]
    assert (verification["result"], verification["authority"]) == ("verified", "CN=Our CA")

    assert "both lists are off" in typed(gateway, "ca", "disable", "custom")
    assert gateway.status()["authorities"] == {"system": {"on": False}, "custom": {"on": False}}
    assert "unable to get local issuer certificate" in attempt(gateway, "off", "deferred")["reply"]
    typed(gateway, "ca", "enable", "custom")
    attempt(gateway, "on", "delivered")

    assert "add --yes" in typed(gateway, "ca", "delete", "Our CA", code=2)
    typed(gateway, "ca", "delete", "Our CA", "--yes")
    assert "unable to get local issuer certificate" in attempt(gateway, "deleted", "deferred")["reply"] and gave_nothing_away(smart_host)
    typed(gateway, "ca", "import", ca.pem)
    typed(gateway, "queue", "flush", "--all")
    gateway.tracked("delivered", sender="deleted@sender.test")


def test_a_server_that_is_revoked_gets_nothing_until_it_has_another_certificate(start, smart_host, ca):
    with crl.Server() as server:
        server.answers["/ca.crl"] = ca.list()
        gateway = start()
        gateway.configure(trusting(smart_host, crl_sources={"check": {"outbound_smtp": True},
            "sources": [{"name": "ca", "primary": server.url(), "schedule": "every 1h"}]}))
        typed(gateway, "reload")
        harness.wait_for("the list is in use", lambda: " parts=revocation" in gateway.stderr())
        assert "current" in typed(gateway, "crl", "list")
        assert "revocation" in attempt(gateway, "good", "delivered")["tls"]["verification"]["checked"]

        def publish(*more):
            """The command answers when what was fetched is used."""
            server.answers["/ca.crl"] = ca.list(*more)
            assert update(gateway)["result"] == "renewed"

        ca.revoke("server")
        publish()
        reply = attempt(gateway, "revoked", "deferred")["reply"]
        assert "the certificate is revoked: certificate 0 of the chain, CN=srv.partner.test" in reply and gave_nothing_away(smart_host)
        assert "the certificate is revoked" in typed(gateway, "queue", "list")
        assert "the certificate is revoked" in typed(gateway, "track", "--sender", "revoked@sender.test")
        assert re.search(r" warn deliver tls_failed .*the certificate is revoked", gateway.stderr())

        for broken, why in ((b"rubbish", "there is no list of revoked certificates in it"), (None, "status 404"),
                ((ca.folder / "list.pem").read_bytes(), "it is PEM")):
            server.answers["/ca.crl"] = broken
            assert why in update(gateway, status=1)["reason"]
        assert listed(gateway)["state"] == "current" and listed(gateway)["entries"] == 1 and listed(gateway)["failures"] == 1, "tries by hand do not lengthen the wait"
        assert "the certificate is revoked" in attempt(gateway, "broken", "deferred")["reply"]

        publish("-crlsec", "1")
        harness.wait_for("the list is past its time", lambda: listed(gateway)["state"] == "stale")
        assert "stale" in typed(gateway, "crl", "list", code=1)
        assert "the certificate is revoked" in attempt(gateway, "stale", "deferred")["reply"]
        smart_host.renew()
        passed = attempt(gateway, "renewed", "delivered")["tls"]["verification"]
        assert passed["unchecked"] == ["revocation"] and "out of date" in passed["reason"]
        publish()
        typed(gateway, "queue", "flush", "--all")
        for name in ("revoked", "broken", "stale"):
            gateway.tracked("delivered", sender=f"{name}@sender.test")
        assert "revocation" in attempt(gateway, "last", "delivered")["tls"]["verification"]["checked"]


def test_a_responder_is_asked_about_the_server(start, smart_host, ca):
    with ocsp.Responder() as responder:
        responder.pki = ca
        named = f"authorityInfoAccess=OCSP;URI:{responder.url}\n"

        def ask(mode):
            gateway.configure(trusting(smart_host, tls_profiles=[{"name": "asking", "ocsp": mode}], destinations=[{"domain": "default",
                "tls_profile": "asking"}], fetch={"allow_networks": ["127.0.0.1"]}))
            typed(gateway, "reload")

        def verified(name, state="delivered"):
            return attempt(gateway, name, state)["tls"]["verification"]

        gateway = start()
        smart_host.renew(named)
        assert "ocsp" not in str(verified("off")) and not responder.requests

        ask("lenient")
        assert "ocsp" in verified("good")["checked"]
        responder.fault = 503
        smart_host.renew(named)
        gone = verified("gone")
        assert gone["unchecked"] == ["ocsp"] and "there is no OCSP answer about the certificate" in gone["reason"]
        responder.fault = None
        smart_host.renew(named)
        ca.revoke("server")
        assert "OCSP says that the certificate is revoked" in verified("revoked", "deferred")["reason"] and gave_nothing_away(smart_host)

        ask("strict")
        responder.fault = 503
        smart_host.renew(named)
        assert "and strict checking is on" in verified("gone_too", "deferred")["reason"] and gave_nothing_away(smart_host)
        smart_host.renew()
        assert "names no OCSP responder, and strict checking is on" in verified("nameless", "deferred")["reason"]
        responder.fault = None
        smart_host.renew(named)
        assert "ocsp" in verified("fine")["checked"]
        typed(gateway, "queue", "flush", "--all")
        for name in ("revoked", "gone_too", "nameless"):
            gateway.tracked("delivered", sender=f"{name}@sender.test")
        states = [json.loads(line) for line in gateway.command("queue", "list", "--json").stdout.splitlines()]
        assert states == []
