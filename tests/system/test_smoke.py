"""The main way of a mail: a real client, STARTTLS in, the gateway, STARTTLS out, a real server, and what tracking says."""

import os
import re
import subprocess

import pytest

import harness
import smtp

pytestmark = pytest.mark.smoke

TLS_KEYS = {"desired", "obtained", "protocol", "cipher", "group", "peer", "reason", "resumed", "verification"}


def curl(gateway, pki, folder, content, sender="alice@sender.test", recipient="bob@good.test"):
    host, port = gateway.address()
    file = folder / "sent.eml"
    file.write_bytes(content)
    return harness.run("curl", "--silent", "--show-error", "--ssl-reqd", "--cacert", pki.ca, "--mail-from", sender,
        "--mail-rcpt", recipient, "--upload-file", file, f"smtp://{host}:{port}/client.sender.test")


# Of deliveries: what was decided on, what was decided, what came of it; and of the certificate, when there was one.
DELIVERY_KEYS = {"facts", "policy", "connection"}


def check_tls(tls, desired, obtained="encrypted"):
    """The shape of one leg's evidence; `peer` is null when no certificate was shown."""
    assert set(tls) - {"checks"} in (TLS_KEYS, TLS_KEYS | DELIVERY_KEYS)
    assert tls["peer"] is None or set(tls["peer"]) == {"sha256", "names"}
    assert (tls["desired"], tls["obtained"]) == (desired, obtained)
    if obtained == "none":
        assert tls["protocol"] is None and tls["cipher"] is None
    else:
        assert re.fullmatch(r"TLSv1\.[23]", tls["protocol"])
        assert tls["cipher"]


def test_curl_to_sink_and_the_tracking_record(gateway, sink, pki):
    body = "".join(f"line {n} of the body\r\n" for n in range(50)) + ".\r\n..two dots\r\nend\r\n"
    content = harness.message("curl in", body)
    sent = curl(gateway, pki, gateway.folder, content)
    assert sent.returncode == 0, sent.stderr

    record = gateway.tracked("delivered", sender="alice@sender.test")
    assert set(record) == {"mid", "time", "sender", "size", "inbound", "recipients"}
    assert set(record["inbound"]) == {"icid", "client", "helo", "tls"}
    assert record["sender"] == "alice@sender.test"
    assert re.fullmatch(r"20\d\d-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z", record["time"])
    assert record["inbound"]["icid"]
    assert record["inbound"]["client"].startswith("127.0.0.1")
    assert record["inbound"]["helo"] == "client.sender.test"
    check_tls(record["inbound"]["tls"], "preferred")
    assert record["inbound"]["tls"]["protocol"] == "TLSv1.3"
    assert record["inbound"]["tls"]["peer"] is None, "curl showed no certificate"

    (recipient,) = record["recipients"]
    assert set(recipient) == {"address", "state", "attempts"}
    assert recipient["address"] == "bob@good.test"
    (attempt,) = recipient["attempts"]
    assert set(attempt) == {"time", "dcid", "host", "address", "reply", "tls"}
    assert attempt["address"] == sink.address
    assert attempt["reply"].startswith("250")
    assert attempt["dcid"]
    check_tls(attempt["tls"], "preferred")
    assert attempt["tls"]["peer"]["sha256"] == pki.fingerprint()
    assert set(attempt["tls"]["peer"]["names"]) == {harness.HOSTNAME, "localhost"}

    (line,) = sink.wait()
    assert line["sender"] == "alice@sender.test"
    assert line["recipients"] == ["bob@good.test"]
    assert line["tls"]["obtained"] == "encrypted", "the sink received it over TLS"
    assert line["tls"]["protocol"] == attempt["tls"]["protocol"]
    assert line["size"] == len(sink.stored(line))
    received = sink.content(line)
    _, rest = harness.split_received(received)
    assert rest == content, "not a byte of the message changed"
    assert record["size"] in (len(content), len(received))


def test_1_65_received_line_tells_the_tls_facts(gateway, sink, pki):
    assert curl(gateway, pki, gateway.folder, harness.message("received")).returncode == 0
    (line,) = sink.wait()
    record = gateway.tracked("delivered", sender="alice@sender.test")
    field, _ = harness.split_received(sink.content(line))
    tls = record["inbound"]["tls"]
    assert "from client.sender.test" in field and "[127.0.0.1]" in field
    assert f"by {harness.HOSTNAME}" in field
    assert "with ESMTPS" in field
    assert tls["cipher"] in field
    assert tls["protocol"] in field
    assert re.search(r"; \w{3}, \d\d? \w{3} 20\d\d \d\d:\d\d:\d\d [+-]0000", field)


def test_swaks_over_starttls(gateway, sink, pki):
    host, port = gateway.address()
    done = harness.run("swaks", "--server", host, "--port", port, "--tls", "--tls-verify", "--tls-ca-path", pki.ca,
        "--from", "swaks@sender.test", "--to", "bob@good.test", "--helo", "swaks.sender.test", "--body", "from swaks")
    assert done.returncode == 0, done.stdout + done.stderr
    record = gateway.tracked("delivered", sender="swaks@sender.test")
    check_tls(record["inbound"]["tls"], "preferred")
    assert b"from swaks" in sink.content(sink.wait()[0])


def test_several_messages_share_one_outbound_connection(make_gateway, make_sink):
    """Queued while nobody is there, then delivered together: one connection carries them."""
    nobody = harness.free_address()
    gateway = make_gateway(next_hop=nobody, delivery={"retry": ["1s"], "concurrency": 1})
    for n in range(8):
        smtp.submit(gateway.address(), f"s{n}@sender.test", "bob@good.test", harness.message(f"m{n}"))
    sink = make_sink()
    gateway.configure(harness.settings(next_hop=sink.address, delivery={"retry": ["1s"], "concurrency": 1}))
    reloaded = gateway.command("reload")
    assert reloaded.returncode == 0, reloaded.stderr
    records = gateway.tracked("delivered", count=8, recipient="bob@good.test")
    assert len(sink.wait(8)) == 8
    last = [record["recipients"][0]["attempts"][-1]["dcid"] for record in records]
    assert len(set(last)) < len(last), f"each message had a connection of its own: {last}"


def test_large_message_is_byte_identical(gateway, sink):
    """Over 128 KiB the content travels as a file."""
    lines = os.urandom(1_500_000).hex()
    body = "".join(lines[n:n + 76] + "\r\n" for n in range(0, len(lines), 76))
    content = harness.message("large", body)
    smtp.submit(gateway.address(), "large@sender.test", "bob@good.test", content)
    (line,) = sink.wait()
    _, rest = harness.split_received(sink.content(line))
    assert rest == content
    gateway.tracked("delivered", sender="large@sender.test")


def test_stop_ends_it_with_0(gateway, sink):
    smtp.submit(gateway.address(), "stop@sender.test", "bob@good.test", harness.message("stop"))
    gateway.tracked("delivered", sender="stop@sender.test")
    stopped = gateway.command("stop", timeout=60)
    assert stopped.returncode == 0, stopped.stderr
    assert gateway.wait_end() == 0
    gateway.assert_clean()


def test_check_accepts_the_example(pki):
    folder = harness.make_folder()
    pki.copy_to(folder / "pki")
    file = folder / "relay.yaml"
    file.write_bytes((harness.ROOT / "examples/relay.yaml").read_bytes())
    done = harness.postern("-c", file, "check")
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip(), "it says that all is well"
    assert not (folder / "state").exists(), "check changes nothing"
    subprocess.run(["rm", "-rf", str(folder)], check=True)
