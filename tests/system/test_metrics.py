"""The page /metrics: its format, its numbers, who may have it, and what becomes of it at reloads and deaths."""

import json
import os
import re
import signal
import socket
import subprocess
import threading
import urllib.error
import urllib.request

import pytest

import dns
import harness
import smtp

PAGE = {"address": "127.0.0.1:0"}


def address_of(gateway):
    return gateway.status().get("metrics")


def fetch(address, path="/metrics", method="GET", body=None, timeout=harness.PATIENCE):
    """(status, headers, text) of one request; an error status is no exception."""
    request = urllib.request.Request(f"http://{address}{path}", method=method, data=body)
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(request, timeout=timeout) as answer:
            return answer.status, answer.headers, answer.read().decode()
    except urllib.error.HTTPError as e:
        return e.code, e.headers, e.read().decode()


# A strict reader of the text format 0.0.4: what Prometheus only tolerates is an error here.

NAME = r"[a-zA-Z_:][a-zA-Z0-9_:]*"
LABEL = re.compile(r'([a-zA-Z_][a-zA-Z0-9_]*)="((?:[^"\\\n]|\\[\\"n])*)"(?:,(?=.)|$)')
SAMPLE = re.compile(rf"({NAME})(?:\{{(.*)\}})? (-?\d+(?:\.\d+)?)$")
PARTS = ("_bucket", "_sum", "_count")


def labels_of(text):
    found, at = {}, 0
    while at < len(text):
        match = LABEL.match(text, at)
        assert match, f"labels {text!r}"
        assert match.group(1) not in found
        found[match.group(1)] = re.sub(r"\\(.)", lambda m: {"n": "\n"}.get(m.group(1), m.group(1)), match.group(2))
        at = match.end()
    return found


def parse(page):
    """{(name, ((label, value), ...)): number}, and {name: type}."""
    assert page.endswith("\n") and "\n\n" not in page and "\r" not in page
    samples, types, helped, current = {}, {}, set(), None
    for line in page[:-1].split("\n"):
        match = re.fullmatch(rf"# HELP ({NAME}) (\S.*)", line)
        if match:
            assert match.group(1) not in helped, f"{line}: a second time"
            helped.add(match.group(1))
            continue
        match = re.fullmatch(rf"# TYPE ({NAME}) (counter|gauge|histogram)", line)
        if match:
            current = match.group(1)
            assert current in helped and current not in types, f"{line}: without HELP, or a second time"
            types[current] = match.group(2)
            continue
        match = SAMPLE.match(line)
        assert match, f"no line of the format: {line!r}"
        name, labels, value = match.group(1), labels_of(match.group(2) or ""), float(match.group(3))
        parts = PARTS if types.get(current) == "histogram" else ("",)
        assert name in [current + part for part in parts], f"{line}: not with the other samples of its family"
        assert types[current] == "gauge" or value >= 0
        key = (name, tuple(sorted(labels.items())))
        assert key not in samples, f"{line}: a second time"
        samples[key] = value
    assert helped == set(types)
    for name, kind in types.items():
        if kind == "histogram":
            check_histogram(samples, name)
    return samples, types


def check_histogram(samples, name):
    """Buckets in order, each holding those before it, the last one everything."""
    buckets = [(float(dict(labels)["le"]), count) for (of, labels), count in samples.items() if of == name + "_bucket"]
    assert len(buckets) > 1 and buckets[-1][0] == float("inf")
    assert buckets == sorted(set(buckets)) and [n for _, n in buckets] == sorted(n for _, n in buckets)
    assert samples[(name + "_count", ())] == buckets[-1][1]
    assert (samples[(name + "_sum", ())] > 0) == (buckets[-1][1] > 0)


def metrics(gateway):
    status, _, page = fetch(address_of(gateway))
    assert status == 200, page
    return parse(page)[0]


def value(gateway, name, **labels):
    return metrics(gateway).get((f"postern_{name}", tuple(sorted(labels.items()))))


@pytest.fixture
def paged(make_gateway, sink):
    return make_gateway(next_hop=sink.address, metrics=PAGE)


def test_there_is_no_page_and_no_role_unless_asked_for(gateway):
    assert address_of(gateway) is None
    assert "admin" not in gateway.roles()


def test_page_follows_the_format_and_has_every_metric(paged):
    status, headers, page = fetch(address_of(paged))
    assert status == 200
    assert headers["Content-Type"] == "text/plain; version=0.0.4; charset=utf-8"
    samples, types = parse(page)
    assert all(name.startswith("postern_") for name in types)
    for name, kind in types.items():
        assert name.endswith("_total") == (kind == "counter"), name
    names = {name.removeprefix("postern_") for name in types}
    assert {name.removesuffix(part) for name, _ in samples for part in PARTS if name.endswith(part)} \
        | {name for name, _ in samples} >= set(types), "a family without a sample"
    assert {"build_info", "config_generation", "role_up", "role_restarts_total", "cert_expiry_seconds",
        "connections_total", "mails_accepted_total", "rejected_total", "tls_handshake_total", "delivery_total",
        "delivery_duration_seconds", "policy_total", "dane_result_total", "queue_messages", "queue_oldest_seconds", "queue_corrupt_mails", "spool_fsync_seconds",
        "notes_dropped_total"} <= names
    manual = (harness.ROOT / "docs/metrics.md").read_text()
    assert {f"postern_{name}" for name in names} == set(re.findall(r"^\| `(postern_\w+)` \|", manual, re.M))


def test_page_says_what_happened(paged):
    smtp.submit(paged.address(), "alice@sender.test", "bob@good.test", harness.message())
    paged.tracked("delivered", sender="alice@sender.test")
    with smtp.Client(paged.address()) as c:
        c.ehlo()
        c.expect("MAIL FROM:<a@sender.test>", 250)
        c.expect("RCPT TO:<x@elsewhere.test>", 550)
    harness.wait_for("the delivery and both sessions are counted", lambda:
        value(paged, "delivery_total", result="delivered", level="preferred") == 1
        and [value(paged, "connections_total", listener="inbound", proto="smtp", tls=tls) for tls in ("none", "starttls")] == [1, 1])
    now = metrics(paged)

    def of(name, **labels):
        return now[(f"postern_{name}", tuple(sorted(labels.items())))]

    assert of("mails_accepted_total") == 1
    assert [of("queue_messages", state=state) for state in ("ready", "deferred", "leased")] == [0, 0, 0]
    assert of("queue_oldest_seconds") == 0
    assert sum(n for (name, _), n in now.items() if name == "postern_rejected_total") == 1
    assert 89 * 86400 < of("cert_expiry_seconds", certificate="main") <= 90 * 86400
    assert of("build_info", version=paged.status()["version"]) == 1
    assert {dict(labels)["role"] for name, labels in now if name == "postern_role_up"} == set(paged.roles())


def test_there_is_a_row_for_each_listener_and_each_kind_of_tls(paged):
    rows = {dict(labels)["tls"] for name, labels in metrics(paged) if name == "postern_connections_total"}
    assert rows == {"none", "starttls", "implicit"}, "from the start, as zero"
    assert sum(paged.status()["counters"]["connections_by"]["inbound"].values()) == 0


def test_sessions_are_counted_by_listener_and_tls_over_a_reload(make_gateway, sink):
    listeners = [{"name": name, "type": "public", "address": "127.0.0.1:0", "certificate": "main", "policy": "accepted"}
        for name in ("first", "second")]
    settings = harness.settings(next_hop=sink.address, metrics=PAGE, listeners=listeners)
    gateway = make_gateway(settings)

    def sessions(listener):
        return [value(gateway, "connections_total", listener=listener, proto="smtp", tls=tls) for tls in ("none", "starttls", "implicit")]

    with smtp.Client(gateway.address("second")) as c:
        c.ehlo()
        c.starttls()
        harness.wait_for("both are shown", lambda: sessions("second") == [0, 0, 0] == sessions("first"))
    harness.wait_for("it is counted when it ends", lambda: sessions("second") == [0, 1, 0])
    assert sessions("first") == [0, 0, 0]

    gateway.configure(dict(settings, listeners=listeners[1:] + [dict(listeners[0], name="third", address="127.0.0.1:0")]))
    assert gateway.command("reload").returncode == 0
    for name in ("second", "third"):
        with smtp.Client(gateway.address(name)) as c:
            c.expect("QUIT", 221)
    harness.wait_for("they are counted by name, not by place",
        lambda: (sessions("first"), sessions("second"), sessions("third")) == ([0, 0, 0], [1, 1, 0], [1, 0, 0]))


@pytest.mark.parametrize("asked,group", [("X25519", "X25519"), ("P-256", "secp256r1"), ("P-384", "secp384r1"),
    ("P-521", "secp521r1"), ("X448", "X448"), ("ffdhe2048", "ffdhe")])
def test_handshakes_are_counted_by_group(make_gateway, sink, asked, group):
    gateway = make_gateway(harness.settings(next_hop=sink.address, metrics=PAGE,
        tls_profiles=[{"name": "all", "groups": "X25519:P-256:P-384:P-521:X448:ffdhe2048"}],
        listeners=[{"name": "inbound", "type": "public", "address": "127.0.0.1:0", "certificate": "main",
            "policy": "accepted", "tls_profile": "all"}]))
    harness.run("openssl", "s_client", "-starttls", "smtp", "-connect", "%s:%d" % gateway.address(), "-tls1_3",
        "-groups", asked)
    harness.wait_for("it is counted", lambda:
        value(gateway, "tls_handshake_total", dir="in", version="TLSv1.3", group=group, result="ok") == 1)
    assert sum(n for (name, _), n in metrics(gateway).items() if name == "postern_tls_handshake_total") == 1


def total(gateway, name, **labels):
    """The sum of all samples that have these labels, whatever others they have."""
    return sum(n for (of, found), n in metrics(gateway).items()
        if of == f"postern_{name}" and labels.items() <= dict(found).items())


# TLS of the destination, what the next hop offers -> result, level, policy
LEGS = [("none", "good", "delivered", "none", "clear"), ("preferred", "good", "delivered", "preferred", "encrypted"),
    ("preferred", "absent", "delivered", "preferred", "clear"), ("required", "good", "delivered", "required", "encrypted"),
    ("required", "absent", "deferred", "required", "refused"), ("preferred", "broken", "deferred", "preferred", "refused")]


@pytest.mark.parametrize("tls,starttls,result,level,policy", LEGS, ids=[f"{leg[0]}, STARTTLS {leg[1]}" for leg in LEGS])
def test_deliveries_are_counted_by_level_and_connections_by_policy(make_gateway, make_peer, tls, starttls, result, level, policy):
    peer = make_peer(starttls=starttls)
    gateway = make_gateway(next_hop=peer.address, delivery_tls=tls, delivery={"retry": ["1h"]}, metrics=PAGE)
    smtp.submit(gateway.address(), "alice@sender.test", "bob@good.test", harness.message())
    harness.wait_for("it is counted", lambda: value(gateway, "delivery_total", result=result, level=level) == 1)
    assert total(gateway, "delivery_total") == 1
    assert value(gateway, "policy_total", source="local", result=policy) == 1
    assert total(gateway, "policy_total") == 1
    assert total(gateway, "tls_handshake_total", dir="out", result="ok") == (policy == "encrypted")
    assert value(gateway, "delivery_duration_seconds_count") == (result == "delivered")


# The TLSA record of the host, the zone -> result of DANE, who decided, policy
DANE_LEGS = [("TLSA 3 0 1 {own}", dns.SIGNED, "ok", "dane", "verified"), ("TLSA 3 0 1 {other}", dns.SIGNED, "failed", "dane", "refused"),
    ("TLSA 0 0 1 {own}", dns.SIGNED, "unusable", "dane", "encrypted"), (None, dns.SIGNED, "not_applicable", "local", "encrypted"),
    ("TLSA 3 0 1 {own}", dns.INSECURE, "insecure", "local", "encrypted"),
    ("CNAME mx1.bogus.test.", dns.SIGNED, "tempfail", "dane", "refused")]


@pytest.mark.parametrize("record,kind,result,source,policy", DANE_LEGS, ids=[leg[2] for leg in DANE_LEGS])
def test_dane_is_counted_by_result_and_policies_by_who_decided(make_gateway, make_peer, pki, record, kind, result, source, policy):
    port = int(make_peer(starttls="good").address.rpartition(":")[2])
    record = "" if record is None else f"_{port}._tcp.mx1 " + record.format(own=pki.fingerprint(), other="ab" * 32)
    with dns.Server({"good.test": dns.Zone(f"@ MX 10 mx1\nmx1 A 127.0.0.1\n{record}", kind),
            "bogus.test": dns.Zone("mx1 TLSA 3 0 1 " + "ab" * 32, dns.BOGUS)}) as server:
        gateway = make_gateway(dns=server.settings(), routes=None, accepted_domains=None, metrics=PAGE,
            listeners=[{"name": "inbound", "type": "private", "address": "127.0.0.1:0", "certificate": "main", "policy": "out"}],
            mail_flow_policies=[{"name": "out", "action": "relay", "tls": "preferred"}],
            delivery={"retry": ["1h"], "port": port})
        assert json.loads(gateway.command("tls", "verify", "good.test", "--json").stdout)["servers"], "which is not counted"
        told, = json.loads(gateway.command("explain", "good.test", "--live", "--json").stdout)["servers"]
        assert result not in ("ok", "failed") or "dane" in told["live"]["connection"]["made"], told["live"]
        smtp.submit(gateway.address(), "alice@sender.test", "bob@good.test", harness.message())
        harness.wait_for("it is counted", lambda: total(gateway, "delivery_total") == 1)
        assert value(gateway, "dane_result_total", result=result) == total(gateway, "dane_result_total") == 1
        assert value(gateway, "policy_total", source=source, result=policy) == total(gateway, "policy_total") == 1
        assert total(gateway, "delivery_total", result="delivered") == (policy != "refused")


def test_a_delivery_without_a_connection_has_no_level_and_no_policy(make_gateway):
    gateway = make_gateway(next_hop=harness.free_address(), delivery_tls="required", delivery={"retry": ["1h"]}, metrics=PAGE)
    smtp.submit(gateway.address(), "alice@sender.test", "bob@good.test", harness.message())
    harness.wait_for("it is counted", lambda: value(gateway, "delivery_total", result="deferred", level="none") == 1)
    assert total(gateway, "delivery_total") == 1 and total(gateway, "policy_total") == 0


def test_bounces_are_counted(make_gateway, make_peer):
    peer = make_peer(rcpt={"bob@good.test": "550 5.1.1 no"})
    gateway = make_gateway(next_hop=peer.address, metrics=PAGE)
    smtp.submit(gateway.address(), "", "bob@good.test", harness.message())
    harness.wait_for("it is counted", lambda: value(gateway, "delivery_total", result="bounced", level="preferred") == 1)
    assert value(gateway, "delivery_duration_seconds_count") == 0, "a bounce is no delivery"


def test_time_to_deliver_includes_the_waiting(make_gateway, make_peer):
    peer = make_peer(mail=["450 4.2.0 later", "250 2.1.0 ok"])
    gateway = make_gateway(next_hop=peer.address, delivery={"retry": ["1s"]}, metrics=PAGE)
    smtp.submit(gateway.address(), "alice@sender.test", "bob@good.test", harness.message())
    harness.wait_for("it is counted", lambda: value(gateway, "delivery_duration_seconds_count") == 1)
    assert 0.8 < value(gateway, "delivery_duration_seconds_sum") < harness.PATIENCE
    assert value(gateway, "delivery_duration_seconds_bucket", le="0.5") == 0


def queued(gateway):
    return {state: value(gateway, "queue_messages", state=state) for state in ("ready", "deferred", "leased")}


def test_queue_shows_what_mails_wait_for_and_how_long(make_gateway, make_peer):
    """The first mail is being delivered, so the second waits; then it is deferred, and its destination is not asked again soon."""
    held = threading.Event()
    peer = make_peer(pause=lambda: held.wait(harness.PATIENCE), greeting="421 4.3.2 busy")
    gateway = make_gateway(next_hop=peer.address, delivery={"retry": ["1h"], "concurrency": 1}, metrics=PAGE)
    try:
        for n in range(2):
            smtp.submit(gateway.address(), "alice@sender.test", "bob@good.test", harness.message())
        harness.wait_for("one is out", lambda: queued(gateway) == {"ready": 1, "deferred": 0, "leased": 1})
        harness.wait_for("they age", lambda: value(gateway, "queue_oldest_seconds") >= 1)
    finally:
        held.set()
    harness.wait_for("it is deferred", lambda: queued(gateway) == {"ready": 1, "deferred": 1, "leased": 0})
    assert gateway.counters()["queued"] == 2

    os.kill(gateway.roles()["queue"]["pid"], signal.SIGKILL)
    # The other one is tried once: a restart forgets that its destination is busy.
    harness.wait_for("they are known after a restart", lambda: queued(gateway)["deferred"] >= 1
        and sum(queued(gateway).values()) == 2 and value(gateway, "queue_oldest_seconds") >= 1)


def test_every_commit_is_timed(paged):
    before = value(paged, "spool_fsync_seconds_count")
    smtp.submit(paged.address(), "alice@sender.test", "bob@good.test", harness.message())
    paged.tracked("delivered", sender="alice@sender.test")
    harness.wait_for("the mail and its outcome are counted", lambda: value(paged, "spool_fsync_seconds_count") >= before + 2)
    assert 0 < value(paged, "spool_fsync_seconds_sum") < harness.PATIENCE


def test_failed_handshakes_are_counted(make_gateway):
    """A next hop that promises TLS and hangs up."""
    listener = socket.create_server(("127.0.0.1", 0))

    def serve():
        while True:
            try:
                conn, _ = listener.accept()
            except OSError:
                return
            with conn, conn.makefile("rb") as lines:
                conn.sendall(b"220 broken.test ESMTP\r\n")
                for line in lines:
                    if line.upper().startswith(b"EHLO"):
                        conn.sendall(b"250-broken.test\r\n250 STARTTLS\r\n")
                    elif line.upper().startswith(b"STARTTLS"):
                        conn.sendall(b"220 go\r\n")
                        break

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    try:
        gateway = make_gateway(next_hop="127.0.0.1:%d" % listener.getsockname()[1], metrics=PAGE)
        smtp.submit(gateway.address(), "alice@sender.test", "bob@good.test", harness.message())
        harness.wait_for("the failure is counted",
            lambda: value(gateway, "tls_handshake_total", dir="out", version="", group="", result="failed"))
    finally:
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()


def test_curl_reads_it_and_hears_no_to_everything_else(paged):
    address = address_of(paged)

    def curl(*arguments):
        done = harness.run("curl", "--noproxy", "*", "-s", "-o", "/dev/null", "-w", "%{http_code} %header{allow}", *arguments)
        assert done.returncode == 0, done
        return done.stdout.strip()

    assert curl(f"http://{address}/metrics").startswith("200")
    assert curl(f"http://{address}/metrics?x=1").startswith("200")
    for path in ("/", "/metrics/", "/status", "/../metrics/..", "//metrics", "/metricsx", "/%6detrics/x"):
        assert curl("--path-as-is", f"http://{address}{path}").startswith("404"), path
    for method in ("POST", "PUT", "DELETE", "OPTIONS", "TRACE", "PATCH"):
        assert curl("-X", method, f"http://{address}/metrics").startswith("405"), method
    assert curl("-I", f"http://{address}/metrics").startswith("405")
    assert fetch(address, method="POST", body=b"x=1")[1]["Allow"] == "GET"
    assert paged.roles()["admin"]["restarts"] == 0


def raw(address, data, patience=harness.PATIENCE):
    """Everything that comes back until the server closes; empty when it just closes."""
    host, port = address.rsplit(":", 1)
    with socket.create_connection((host.strip("[]"), int(port)), timeout=patience) as conn:
        try:
            conn.sendall(data)
            conn.shutdown(socket.SHUT_WR)
            return b"".join(iter(lambda: conn.recv(65536), b""))
        except OSError:  # it closed while we were still sending
            return b""


@pytest.mark.parametrize("request_", [
    b"GET /metrics HTTP/1.1\r\nX: " + b"x" * 20000 + b"\r\n\r\n",
    b"GET /" + b"x" * 20000 + b" HTTP/1.1\r\n\r\n",
    b"POST /metrics HTTP/1.1\r\nHost: x\r\nContent-Length: 100000\r\n\r\n" + b"x" * 100000,
    b"FLY /metrics HTTP/1.1\r\nHost: x\r\n\r\n",
    b"\0\1\2\3\r\n\r\n",
    b"GET /metrics HTTP/9.9\r\n\r\n",
    b"POST /metrics HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nffffffffffffffff\r\n",
    b"GET /metrics HTTP/1.1\r\nHost: x\r\nContent-Length: -1\r\n\r\n",
], ids=["large header", "long path", "large body", "unknown method", "no HTTP", "version", "chunk size", "negative length"])
def test_bad_requests_are_refused_and_the_page_stays(paged, request_):
    answer = raw(address_of(paged), request_)
    assert not answer.startswith(b"HTTP/1.1 200") or b"HTTP/9.9" in request_, answer[:200]
    assert fetch(address_of(paged))[0] == 200
    assert paged.roles()["admin"]["restarts"] == 0


def test_11_59_silent_client_is_dropped_and_keeps_nobody_waiting(paged):
    host, port = address_of(paged).rsplit(":", 1)
    with socket.create_connection((host.strip("[]"), int(port)), timeout=harness.PATIENCE) as silent:
        silent.sendall(b"GET /met")
        assert fetch(address_of(paged))[0] == 200
        assert silent.recv(1000) == b"", "closed after its time"


@pytest.mark.parametrize("address", ["0.0.0.0:0", "192.0.2.1:9464", "[::]:0"])
def test_11_59_page_is_for_loopback_only(make_gateway, address):
    gateway = make_gateway(start=False, metrics={"address": address})
    done = gateway.command("check")
    assert done.returncode == 1
    assert "metrics.address" in done.stderr and "loopback" in done.stderr, done.stderr
    assert sum("metrics.address" in line for line in done.stderr.splitlines()) == 1, "said once"


def test_11_59_11_43_page_holds_no_address_no_name_of_a_mail_and_no_secret(paged, sink):
    smtp.submit(paged.address(), "alice@sender.test", "bob@good.test", harness.message())
    paged.tracked("delivered", sender="alice@sender.test")
    _, headers, page = fetch(address_of(paged))
    for word in ("alice", "bob", "sender.test", "good.test", "127.0.0.1", sink.address, str(paged.folder), "PRIVATE",
            "BEGIN", harness.USER + "@"):
        assert word not in page and word not in str(headers), word
    assert not re.search(r"\d+\.\d+\.\d+\.\d+", page)
    for line in (paged.folder / "pki/server.key").read_text().splitlines()[1:-1]:
        assert line not in page


def test_11_59_role_admin_holds_no_key(paged):
    """Its memory and its descriptors: the key goes to front only."""
    if os.geteuid() != 0:
        pytest.skip("only root may look into another user's memory")
    key = (paged.folder / "pki/server.key").read_bytes().split(b"\n")[1]
    chain = (paged.folder / "pki/server.pem").read_bytes().split(b"\n")[1]
    pid = paged.roles()["admin"]["pid"]
    seen = b""
    with open(f"/proc/{pid}/maps") as maps, open(f"/proc/{pid}/mem", "rb", 0) as memory:
        for line in maps:
            match = re.match(r"([0-9a-f]+)-([0-9a-f]+) r\S*p? .*(heap|memfd)", line)
            if match:
                low, high = int(match.group(1), 16), int(match.group(2), 16)
                memory.seek(low)
                try:
                    seen += memory.read(high - low)
                except OSError:
                    pass
    for fd in os.listdir(f"/proc/{pid}/fd"):
        target = os.readlink(f"/proc/{pid}/fd/{fd}")
        assert not target.startswith(str(paged.folder / "state")), target
        if "memfd" in target:
            seen += open(f"/proc/{pid}/fd/{fd}", "rb").read()
    assert key not in seen and chain not in seen


def is_refused(address):
    host, port = address.rsplit(":", 1)
    try:
        socket.create_connection((host.strip("[]"), int(port)), timeout=5).close()
    except ConnectionRefusedError:
        return True


def test_reload_adds_moves_and_removes_the_page(make_gateway, sink):
    without = harness.settings(next_hop=sink.address)
    gateway = make_gateway(without)
    others = gateway.roles()

    gateway.configure(dict(without, metrics=PAGE))
    assert gateway.command("reload").returncode == 0
    first = address_of(gateway)
    assert value(gateway, "config_generation") == 2
    pid = gateway.roles()["admin"]["pid"]

    assert gateway.command("reload").returncode == 0
    assert address_of(gateway) == first, "what does not change keeps its port"
    assert gateway.roles()["admin"]["pid"] == pid
    harness.wait_for("generation 3 is shown", lambda: value(gateway, "config_generation") == 3)

    gateway.configure(dict(without, metrics={"address": "[::1]:0"} if has_ipv6() else {"address": "127.0.0.2:0"}))
    assert gateway.command("reload").returncode == 0
    second = address_of(gateway)
    assert second != first and fetch(second)[0] == 200
    harness.wait_for("the old port is closed", lambda: is_refused(first))
    assert gateway.roles()["admin"]["pid"] == pid

    gateway.configure(without)
    assert gateway.command("reload").returncode == 0
    assert address_of(gateway) is None and "admin" not in gateway.roles()
    assert not harness.is_alive(pid)
    harness.wait_for("the port is closed", lambda: is_refused(second))
    assert f"role_stopped name=admin pid={pid}" in gateway.stderr()
    assert "role_died" not in gateway.stderr()
    after = gateway.roles()
    assert {name: role["pid"] for name, role in after.items()} == {name: role["pid"] for name, role in others.items()}


def has_ipv6():
    try:
        socket.create_server(("::1", 0), family=socket.AF_INET6).close()
        return True
    except OSError:
        return False


def test_refused_reload_starts_no_page_and_is_counted(make_gateway, sink):
    good = harness.settings(next_hop=sink.address, metrics=PAGE)
    gateway = make_gateway(good)
    first = address_of(gateway)
    taken = socket.create_server(("127.0.0.1", 0))
    gateway.configure(dict(good, metrics={"address": "127.0.0.1:%d" % taken.getsockname()[1]}))
    done = gateway.command("reload")
    assert done.returncode == 1 and "metrics.address" in done.stderr, done.stderr
    assert address_of(gateway) == first
    harness.wait_for("it is counted", lambda: value(gateway, "config_reloads_refused_total") == 1)
    taken.close()

    without = harness.settings(next_hop=sink.address)
    gateway.configure(without)
    assert gateway.command("reload").returncode == 0
    gateway.configure(dict(without, metrics=PAGE, state_dir="other"))
    assert gateway.command("reload").returncode == 1
    assert address_of(gateway) is None and "admin" not in gateway.roles()


def test_page_comes_back_when_its_role_dies(paged):
    address, pid = address_of(paged), paged.roles()["admin"]["pid"]
    os.kill(pid, signal.SIGKILL)
    harness.wait_for("admin is back", lambda: (r := paged.roles()["admin"])["up"] and r["pid"] != pid)
    assert address_of(paged) == address
    harness.wait_for("the page is back", lambda: fetch(address)[0] == 200)
    assert value(paged, "role_restarts_total", role="admin") == 1


def test_role_that_is_down_or_silent_is_shown_so(paged):
    """A silent role keeps its numbers: counters that vanish would look like a restart."""
    smtp.submit(paged.address(), "alice@sender.test", "bob@good.test", harness.message())
    harness.wait_for("it is counted", lambda: value(paged, "mails_accepted_total") == 1)
    front = paged.roles()["front"]["pid"]
    os.kill(front, signal.SIGSTOP)
    try:
        harness.wait_for("front is shown as down", lambda: value(paged, "role_up", role="front") == 0)
        assert value(paged, "mails_accepted_total") == 1
    finally:
        os.kill(front, signal.SIGCONT)
    harness.wait_for("front is shown as up", lambda: value(paged, "role_up", role="front") == 1)
    os.kill(front, signal.SIGKILL)
    harness.wait_for("front starts again at 0", lambda: value(paged, "role_restarts_total", role="front") == 1
        and value(paged, "mails_accepted_total") == 0)


def test_master_that_does_not_answer_is_503(paged):
    address = address_of(paged)
    master = paged.roles()["master"]["pid"]
    harness.wait_for("the page is there", lambda: fetch(address)[0] == 200)
    os.kill(master, signal.SIGSTOP)
    try:
        harness.wait_for("the page says that it knows nothing", lambda: fetch(address)[0] == 503)
    finally:
        os.kill(master, signal.SIGCONT)
    harness.wait_for("the page is back", lambda: fetch(address)[0] == 200)
    assert "metrics_failed" in paged.stderr()


def test_many_at_once(paged):
    address = address_of(paged)
    done = subprocess.run(["curl", "--noproxy", "*", "-sf", "--parallel", "--parallel-max", "50", "-o", "/dev/null",
        f"http://{address}/metrics?[1-500]"], timeout=120)
    assert done.returncode == 0
    assert paged.roles()["admin"]["restarts"] == 0
