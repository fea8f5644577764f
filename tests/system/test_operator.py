"""A day with the gateway: what an administrator did who had only the README and the pages it names. Each test is one of the things
that were set up, with the commands that were used (only ports and names are ours)."""

import json
import subprocess
import urllib.error
import urllib.request

import pytest

import harness
import smtp

MAIL = ["MAIL FROM:<me@sender.test>", "RCPT TO:<you@good.test>", "RCPT TO:<x@elsewhere.test>"]


def listener(name, **more):
    return {"name": name, "type": "public", "address": "127.0.0.1:0", "certificate": "main", "policy": "accepted", **more}


def house(sink, **more):
    """Four listeners, two TLS profiles, groups: the administrator's file."""
    metrics = harness.free_address()
    configuration = harness.settings(next_hop=sink.address, delivery_tls="required",
        tls_profiles=[{"name": "mine", "min_version": 1.2, "ciphers": "ECDHE+AESGCM", "groups": "X25519:P-256", "pfs": "required"}],
        listeners=[listener("own", tls_profile="mine"), listener("standard", tls_profile="TLS-Server.Standard"),
            listener("balanced", proxy_protocol_from=["127.0.0.1"]), listener("front", xclient_from=["127.0.0.1"])],
        mail_flow_policies=[{"name": "accepted", "tls": "preferred"}, {"name": "refused", "action": "reject"},
            {"name": "strict", "tls": "required"}, {"name": "ours", "action": "relay"}],
        sender_groups=[{"name": "bad", "networks": ["203.0.113.0/24"], "policy": "refused"},
            {"name": "partners", "networks": ["198.51.100.0/24"], "policy": "strict"},
            {"name": "own", "networks": ["10.0.0.0/8"], "policy": "ours"}],
        routes=[{"domain": "default", "next_hop": sink.address}], metrics={"address": metrics},
        log={"to": "./postern.log", "level": "info"})
    configuration.update(more)
    return configuration


@pytest.fixture
def day(make_gateway, sink):
    return lambda start=True, **more: make_gateway(house(sink, **more), start=start)


def handshake(gateway, name, *options):
    """What `openssl s_client -brief` says about a listener."""
    host, port = gateway.address(name)
    done = harness.run("openssl", "s_client", "-starttls", "smtp", "-connect", f"{host}:{port}", "-brief", "-CAfile",
        gateway.folder / "pki/ca.pem", *options)
    return done.stdout + done.stderr


def test_a_profile_of_our_own_and_a_predefined_one(day):
    gateway = day()
    for name in ("own", "standard"):
        assert "Protocol version: TLSv1.2" in handshake(gateway, name, "-tls1_2")
        assert "Protocol version: TLSv1.3" in handshake(gateway, name, "-tls1_3")
        assert "alert protocol version" in handshake(gateway, name, "-tls1_1", "-cipher", "ALL:@SECLEVEL=0")
        assert "alert handshake failure" in handshake(gateway, name, "-tls1_2", "-cipher", "ECDHE-ECDSA-AES128-SHA")
    assert "alert handshake failure" in handshake(gateway, "own", "-groups", "P-384")
    assert "secp384r1" in handshake(gateway, "standard", "-groups", "P-384")
    assert "alert handshake failure" in handshake(gateway, "own", "-tls1_2", "-cipher", "ECDHE-ECDSA-CHACHA20-POLY1305")
    assert "CHACHA20" in handshake(gateway, "standard", "-tls1_2", "-cipher", "ECDHE-ECDSA-CHACHA20-POLY1305")


def rcpt(gateway, *recipients, name="own"):
    with smtp.Client(gateway.address(name)) as client:
        client.do("EHLO c.test")
        client.do(MAIL[0])
        return [client.do(f"RCPT TO:<{recipient}>").code for recipient in recipients]


def test_a_list_of_recipients_that_changes(day):
    gateway = day(recipients={"file": "recipients.txt"}, start=False)
    (gateway.folder / "recipients.txt").write_text("# people\nyou@good.test\n\n")
    gateway.start()
    asked = ["you@good.test", "YOU@GOOD.TEST", "new@good.test", "postmaster@good.test", "postmaster"]
    assert rcpt(gateway, *asked) == [250, 250, 550, 250, 250]
    (gateway.folder / "recipients.txt").write_text("you@good.test\nnew@good.test\n")
    assert gateway.command("reload").returncode == 0
    assert rcpt(gateway, *asked) == [250] * 5


def codes(gateway, name, *lines, before=b""):
    """The reply codes of a dialogue from the greeting on; it ends when the server hangs up."""
    heard = []
    with smtp.Client(gateway.address(name), greet=False, before=before) as client:
        try:
            heard.append(client.read().code)
            heard += [client.do(line).code for line in lines]
        except (smtp.Closed, OSError):
            pass
    return heard


@pytest.mark.parametrize("client, expected", [
    ("TCP4 192.0.2.7 198.51.100.1 56324 25", [220, 250, 250, 250, 550]),
    ("TCP6 2001:db8::1 2001:db8::2 1 25", [220, 250, 250, 250, 550]),
    ("UNKNOWN", [220, 250, 250, 250, 550]),
    ("TCP4 203.0.113.7 198.51.100.1 1 25", [554]),
    ("TCP4 198.51.100.9 198.51.100.1 1 25", [220, 250, 530, 530, 530]),
    ("TCP4 10.1.2.3 10.0.0.1 1 25", [220, 250, 250, 250, 250]),
    ("TCP4 192.0.2.999 198.51.100.1 1 25", []),
])
def test_groups_count_the_client_behind_the_balancer(day, client, expected):
    assert codes(day(), "balanced", "EHLO a", *MAIL, before=f"PROXY {client}\r\n".encode()) == expected


def test_a_front_end_names_its_client(day):
    gateway = day()
    host, port = gateway.address("front")
    assert codes(gateway, "front", "EHLO a", "XCLIENT ADDR=198.51.100.9", "EHLO b", MAIL[0]) == [220, 250, 220, 250, 530]
    assert codes(gateway, "front", "EHLO a", "XCLIENT ADDR=203.0.113.9") == [220, 250, 554]
    assert codes(gateway, "own", "EHLO a", "XCLIENT ADDR=10.1.2.3") == [220, 250, 550]
    done = harness.run("swaks", "--server", host, "--port", port, "--tls", "--xclient-addr", "192.0.2.10", "--from",
        "me@sender.test", "--to", "you@good.test")
    assert done.returncode == 0, done.stdout
    assert gateway.tracked("delivered", sender="me@sender.test")["inbound"]["client"].startswith("192.0.2.10")


def page(address, path="/metrics", **options):
    with urllib.request.urlopen(urllib.request.Request(f"http://{address}{path}", **options), timeout=harness.PATIENCE) as answer:
        return answer.read().decode()


def test_the_page_of_counters(day):
    metrics = harness.free_address()
    gateway = day(metrics={"address": metrics})
    rcpt(gateway, "you@good.test", name="standard")
    assert 'postern_role_up{role="front"} 1' in page(metrics)
    for path, options, code in (("/", {}, 404), ("/metrics", {"method": "POST"}, 405)):
        with pytest.raises(urllib.error.HTTPError) as refused:
            page(metrics, path, **options)
        assert refused.value.code == code


def test_following_the_log_while_it_is_rotated(day):
    gateway = day()
    followed = open(gateway.folder / "followed", "w+")
    follower = subprocess.Popen([str(harness.BINARY), "-c", str(gateway.file), "log", "follow", "--json"], stdout=followed,
        stdin=subprocess.DEVNULL, env=harness.environment())

    def has_seen(sender):
        events = [json.loads(line) for line in (gateway.folder / "followed").read_text().splitlines(keepends=True) if line.endswith("\n")]
        return any(event.get("sender") == sender for event in events)

    def send_until_seen(sender):
        """The follower starts at the end of the log, so only what comes after it has opened it is shown."""
        def send():
            host, port = gateway.address("standard")
            done = harness.run("swaks", "--server", host, "--port", port, "--tls", "--from", sender, "--to", "you@good.test")
            assert done.returncode == 0, done.stdout
            return has_seen(sender)

        harness.wait_for(f"`log follow` shows {sender}", send)

    try:
        send_until_seen("before@sender.test")
        (gateway.folder / "postern.log").rename(gateway.folder / "postern.log.1")
        assert gateway.command("reload").returncode == 0
        send_until_seen("after@sender.test")
    finally:
        follower.terminate()
        follower.wait(timeout=harness.PATIENCE)
        followed.close()


def test_a_reload_does_not_disturb_an_open_session(day, sink):
    gateway = day()
    with smtp.Client(gateway.address("own")) as client:
        assert int(client.do("EHLO c.test").offers["SIZE"]) > 65536
        client.do(MAIL[0])
        client.do(MAIL[1])
        gateway.configure(house(sink, limits={"message_size": "64KiB"}))
        assert gateway.command("reload").returncode == 0
        assert client.do("DATA").code == 354
        client.send(harness.message(body="x" * 70 + "\r\n") + b"y\r\n" * 40000 + b".\r\n")
        assert client.read().code == 250
    with smtp.Client(gateway.address("own")) as client:
        assert client.do("EHLO c.test").offers["SIZE"] == "65536"

    gateway.configure(house(sink, tls_profiles=[{"name": "mine", "min_version": 1.5}]))
    refused = gateway.command("reload")
    assert refused.returncode == 1 and "expected one of 1.0, 1.1, 1.2, 1.3" in refused.stdout + refused.stderr
    assert gateway.generation() == 2


def test_tracking_without_a_gateway(day):
    gateway = day()
    host, port = gateway.address("standard")
    assert harness.run("swaks", "--server", host, "--port", port, "--from", "me@sender.test", "--to", "you@good.test").returncode == 0
    gateway.tracked("delivered", sender="me@sender.test")
    gateway.stop()
    assert gateway.command("status").returncode == 75
    record, = gateway.track(recipient="YOU@GOOD.TEST")
    assert record["sender"] == "me@sender.test"


COMMANDS = ("backup", "check", "config", "dns", "log", "queue", "reload", "restore", "run", "sink", "status", "stop", "track")


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_its_help(command):
    done = harness.postern(command, "--help")
    assert done.returncode == 0 and done.stderr == ""
    assert done.stdout.startswith(f"usage: postern [-c FILE] {command}") and len(done.stdout.splitlines()) > 1
    assert f"\n  {command}" in harness.postern("--help").stdout


def test_what_is_too_much_is_named():
    done = harness.postern("run", "extra")
    assert done.returncode == 2 and "run: unknown argument extra" in done.stderr and "no command" not in done.stderr
    done = harness.postern("status", "--json", "--json")
    assert done.returncode == 2 and "once, not twice: --json" in done.stderr
