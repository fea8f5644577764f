"""`postern tls verify` (B58), `postern dane verify` (B79), `postern tls temporary`: servers looked at as a delivery would, over signed zones; and what `explain` says
of the same servers."""

import hashlib
import json
import re
import ssl
import subprocess

import pytest

import dns
import harness


def spki(pki):
    """SHA-256 of the server's public key, as TLSA 3 1 1 has it."""
    public = subprocess.run(["openssl", "x509", "-in", str(pki.server), "-noout", "-pubkey"], capture_output=True, check=True, text=True).stdout
    return hashlib.sha256(ssl.PEM_cert_to_DER_cert(public.replace("PUBLIC KEY", "CERTIFICATE"))).hexdigest()


@pytest.fixture
def scene(make_gateway, make_peer, pki):
    """A gateway, and a server with TLS that the zones know by several names: good (its key), wrong (another key), odd (unusable), none; and insecure.test."""
    peer = make_peer()
    port = peer.port
    records = f"""
        @ MX 10 good
        good A 127.0.0.1
        _{port}._tcp.good TLSA 3 1 1 {spki(pki)}
        wrong A 127.0.0.1
        _{port}._tcp.wrong TLSA 3 1 1 {"ab" * 32}
        odd A 127.0.0.1
        _{port}._tcp.odd TLSA 1 1 1 {spki(pki)}
        none A 127.0.0.1
    """
    with dns.Server({"signed.test": dns.Zone(records), "gw.good.test": dns.Zone("@ A 127.0.0.1"),
            "insecure.test": dns.Zone(f"@ MX 10 mx1\nmx1 A 127.0.0.1\n_{port}._tcp.mx1 TLSA 3 1 1 {spki(pki)}", dns.INSECURE),
            "bogus.test": dns.Zone(f"@ MX 10 mx1\nmx1 A 127.0.0.1\n_{port}._tcp.mx1 TLSA 3 1 1 {spki(pki)}", dns.BOGUS)}) as server:
        gateway = make_gateway(dns=server.settings(), destinations=[{"domain": "default", "tls": "preferred", "dane": "opportunistic"},
            {"domain": "plain.test", "tls": "preferred", "dane": "none"}],
            routes=[{"domain": "default", "next_hop": f"good.signed.test:{port}"}])
        gateway.peer, gateway.port, gateway.server = peer, port, server
        yield gateway
        for session in peer.sessions:
            assert set(session.verbs()) <= {"EHLO", "STARTTLS", "QUIT"}, "nothing is sent"


def ask(gateway, *arguments):
    done = gateway.command(*arguments, "--json", timeout=120)
    assert done.stdout, done.stderr
    return done.returncode, json.loads(done.stdout)


@pytest.mark.parametrize("host,status,words", [
    ("good.signed.test", 0, ["SECURE address", "usable", "3 1 1 ", "connected: protocol TLSv1.3, cipher TLS_", "Certificate verification successful"]),
    ("wrong.signed.test", 1, ["SECURE address", "usable", "Certificate verification failed"]),
    ("odd.signed.test", 1, ["SECURE address", "unusable", "not dialled: DANE is mandatory"]),
    ("none.signed.test", 1, ["SECURE address", "not dialled: DANE is mandatory, and the host has no TLSA records"]),
    ("mx1.insecure.test", 1, ["INSECURE address", "not dialled: DANE is mandatory"]),
    ("mx1.bogus.test", 75, ["no server can be tried: 4"]),
])
def test_B79_dane_verify(scene, host, status, words):
    done = scene.command("dane", "verify", "plain.test", "--host", f"{host}:{scene.port}", timeout=120)
    assert done.returncode == status, done.stdout + done.stderr
    for word in words:
        assert word in done.stdout, done.stdout
    assert done.stdout.splitlines()[-1] == f"DANE {'SUCCESS' if status == 0 else 'FAILED'} for plain.test"


def test_B79_dane_verify_of_a_domain(scene):
    """The way of the domain is gone, and the states of MX and address are named; the port of the MX is 25, where the zone has no TLSA record."""
    done = scene.command("dane", "verify", "plain.test")
    assert done.returncode == 0 and f"good.signed.test:{scene.port} is named by the configuration" in done.stdout
    scene.configure((scene.file.read_text()).replace(f"good.signed.test:{scene.port}", "mx:signed.test"))
    assert scene.command("reload").returncode == 0
    status, answer = ask(scene, "dane", "verify", "plain.test")
    assert (status, answer["way"]["mx_of"], answer["way"]["mx_security"]) == (1, "signed.test", "secure")
    assert [(s["host"], s["security"], s["facts"]["dane"]["finding"]) for s in answer["servers"]] == [("good.signed.test", "secure", "absent")]
    done = scene.command("dane", "verify", "plain.test")
    assert done.stdout.splitlines()[0] == "SECURE MX records for signed.test" and done.stdout.splitlines()[-1] == "DANE FAILED for plain.test"


def test_explain_of_dane(scene):
    status, answer = ask(scene, "explain", "some.test", "--live")
    (server,) = answer["servers"]
    assert status == 0 and server["live"]["sent"] == "verified" and server["policy"]["decided_by"] == "dane", server
    assert server["facts"]["dane"]["records"][0].startswith("3 1 1 ") and server["policy"]["checks"] == ["dane"]
    assert server["live"]["tls"]["checks"]["dane"]["result"] == "verified" and "dane" in server["live"]["connection"]["passed"]
    text = scene.command("explain", "some.test", "--live").stdout
    assert "mail would be sent in TLS, verified" in text and "TLSA 3 1 1 " in text and "DANE opportunistic: usable" in text
    assert ask(scene, "explain", "plain.test", "--live")[1]["servers"][0]["live"]["sent"] == "encrypted", "dane: none"


def test_B58_tls_verify(scene):
    """The certificate is for gw.good.test and localhost, from an authority that is trusted: B49 compares it with the domain of the recipients."""
    for domain, found in (("gw.good.test", True), ("other.test", False)):
        status, answer = ask(scene, "tls", "verify", domain)
        (server,) = answer["servers"]
        checks = server["live"]["tls"]["checks"]
        assert status == (0 if found else 1), server
        assert checks["domain"]["result"] == ("verified" if found else "certificate-host-mismatch")
        levels = {level: result["sent"] for level, result in server["live"]["levels"].items()}
        assert levels == {"none": "clear", "preferred": "verified", "required": "verified", "preferred-verify": "verified",
            "required-verify": "verified" if found else "nothing", "required-verify-hosted": levels["required-verify-hosted"]}, "DANE is usable and must hold"
        plain = ask(scene, "tls", "verify", domain, "--host", f"none.signed.test:{scene.port}")[1]["servers"][0]["live"]["levels"]
        assert {level: result["sent"] for level, result in plain.items()} == {"none": "clear", "preferred": "encrypted", "required": "encrypted",
            "preferred-verify": "verified" if found else "encrypted", "required-verify": "verified" if found else "nothing",
            "required-verify-hosted": "verified" if found else "nothing"}
        assert all(result["reason"] for result in plain.values())

        text = scene.command("tls", "verify", domain)
        assert text.returncode == status and text.stdout.splitlines()[-1] == f"certificate {'VERIFIED' if found else 'NOT VERIFIED'} for {domain}"
        for word in (f"good.signed.test, 127.0.0.1:{scene.port}", "TLSv1.3", "TLS_", "gw.good.test", "level required-verify: mail would be sent "):
            assert word in text.stdout, text.stdout


def test_servers_without_tls_and_without_a_server(scene, make_peer):
    clear = make_peer(starttls="absent")
    status, answer = ask(scene, "tls", "verify", "other.test", "--host", clear.address)
    levels = {level: result["sent"] for level, result in answer["servers"][0]["live"]["levels"].items()}
    assert status == 1 and levels["preferred"] == "clear" and levels["required"] == levels["required-verify"] == "nothing"
    status, answer = ask(scene, "tls", "verify", "other.test", "--host", harness.free_address())
    assert status == 75 and "cannot connect" in answer["servers"][0]["live"]["reply"]
    done = scene.command("dane", "verify", "other.test", "--host", clear.address)
    assert done.returncode == 1 and done.stdout.endswith("DANE FAILED for other.test\n")


def test_the_temporary_list_is_shown_and_emptied(make_gateway, make_peer):
    peer = make_peer(starttls="broken")
    gateway = make_gateway(next_hop=peer.address, tls={"retry_without_tls": True})
    assert gateway.json("tls", "temporary")["hosts"] == []
    assert "no server" in gateway.command("tls", "temporary").stdout
    import smtp
    smtp.submit(gateway.address(), "a@sender.test", "b@good.test", harness.message())
    gateway.tracked("delivered", recipient="b@good.test")
    listed = gateway.json("tls", "temporary")
    assert listed["hosts"] == ["127.0.0.1"] and 0 < listed["left_s"] <= 3600 and not listed["emptied"]
    assert gateway.command("tls", "temporary").stdout.startswith("127.0.0.1\n")
    harness.wait_for("the gauge", lambda: gateway.counters()["temporary_list_hosts"] == 1)
    going = gateway.json("report", "tls")["outgoing"]
    assert going["wanted"]["temporary-list"]["in_clear"] == 1 and going["wanted"]["none"]["mails"] == 0, going
    text = gateway.command("report", "tls").stdout
    assert text.count("  handshake had failed ") == 1 and "  TLS switched off " in text, text
    assert gateway.json("tls", "temporary", "--empty")["hosts"] == ["127.0.0.1"]
    assert gateway.json("tls", "temporary")["hosts"] == []


@pytest.mark.parametrize("host", ["127.0.0.1:99999", ":25", "mx:0", "mx:25x", "bad host", "a..b", ""])
def test_a_server_that_is_misspelt_is_no_other_one(make_gateway, host):
    gateway = make_gateway(next_hop=harness.free_address())
    for command in ("tls", "dane"):
        done = gateway.command(command, "verify", "good.test", "--host", host)
        assert done.returncode == 2 and done.stderr.startswith(f"postern: --host `{host}`: ") and done.stdout == "", done


def test_B79_what_is_not_known_is_not_called_insecure(scene):
    """MX records that are bogus; a domain that is proven not to exist; and a DNS that does not answer any more."""
    scene.configure(re.sub(r"domain: default(\s+next_hop)", r"domain: good.test\1", scene.file.read_text()))
    assert scene.command("reload").returncode == 0
    for domain, status, state, text in (("bogus.test", 75, ("bogus", False), "BOGUS MX records for bogus.test: not known: MX of bogus.test: bogus"),
            ("nothere.signed.test", 1, ("secure", True), "nothere.signed.test does not exist (proven by DNSSEC)\n"),
            ("nothere.insecure.test", 1, ("insecure", True), "nothere.insecure.test does not exist (not proven by DNSSEC)\n")):
        assert (ask(scene, "dane", "verify", domain)[0], scene.command("dane", "verify", domain).stdout.startswith(text)) == (status, True), domain
        status, answer = ask(scene, "explain", domain)
        way = answer["way"]
        assert (way["mx_security"], way["no_name"]) == state and (way["mx_why"] is None) == way["no_name"]
    assert "goes to nobody: nothere.signed.test does not exist (proven" in scene.command("explain", "nothere.signed.test").stdout
    scene.server.stop()
    status, answer = ask(scene, "explain", "late.signed.test")
    assert status == 75 and answer["way"]["mx_security"] == "unknown" and answer["way"]["mx_why"].startswith("MX of late.signed.test: "), answer
    assert "which are not known: MX of late.signed.test: " in scene.command("explain", "late.signed.test").stdout
    assert scene.command("dane", "verify", "late.signed.test").stdout.startswith("UNKNOWN MX records for late.signed.test: not known: ")


def test_who_named_the_server_is_said(scene):
    host = f"none.signed.test:{scene.port}"
    assert f"mail for plain.test goes to {host}, named on the command line\n" in scene.command("tls", "verify", "plain.test", "--host", host).stdout
    assert f"{host} is named on the command line\n" in scene.command("dane", "verify", "plain.test", "--host", host).stdout
    assert f"goes to good.signed.test:{scene.port}, as the configuration says\n" in scene.command("tls", "verify", "plain.test").stdout
    assert [ask(scene, "tls", "verify", "plain.test", *more)[1]["way"]["asked"] for more in ([], ["--host", host])] == [False, True]


def test_commands_say_what_is_wrong(make_gateway):
    gateway = make_gateway(start=False)
    for arguments in (["tls"], ["tls", "verify"], ["tls", "verify", "a.test", "--empty"], ["tls", "temporary", "a.test"], ["dane", "verify"], ["dane", "x"]):
        assert gateway.command(*arguments).returncode == 2, arguments
    for command in ("tls", "dane"):
        done = gateway.command(command, "verify", "--help")
        assert done.returncode == 0 and "--host" in done.stdout
        assert gateway.command(command, "verify", "a.test").returncode == 75
