"""`concurrency` and `rate` of single destinations: a next hop that has them is limited, the others are not, and a reload changes it.

Servers stand on one port at several addresses of loopback, as MX hosts do on port 25: own.test goes by MX to 127.0.0.2, host.test by a route to the host
mail.own.test at 127.0.0.3, literal.test by a route to the address 127.0.0.4, other.test by MX to 127.0.0.5.
"""

import json
import threading

import pytest

import dns
import harness
import smtp

LIMITED, FREE = ("own.test", "host.test", "literal.test"), "other.test"
NAMES = {"own.test": "own.test", "host.test": "mail.own.test", "literal.test": "127.0.0.4"}  # of their entries in `destinations`


@pytest.fixture
def scene(make_gateway, make_peer):
    """scene({name: limits}, **options of the servers) -> gateway; .peers: domain -> server, .limit({name: limits}): reloaded so."""
    zones = {"own.test": dns.Zone("@ MX 10 mx1\nmx1 A 127.0.0.2\nmail A 127.0.0.3"), "other.test": dns.Zone("@ MX 10 mx1\nmx1 A 127.0.0.5")}
    with dns.Server(zones) as server:
        def make(limits, **options):
            while True:
                port = dns.free_port()
                try:
                    peers = {domain: make_peer(address=(f"127.0.0.{n}", port), **options) for n, domain in enumerate((*LIMITED, FREE), 2)}
                    break
                except OSError:
                    continue
            configuration = harness.settings(dns=server.settings(), accepted_domains=None,
                listeners=[{"name": "inbound", "type": "private", "address": "127.0.0.1:0", "certificate": "main", "policy": "out"}],
                mail_flow_policies=[{"name": "out", "action": "relay"}], delivery={"retry": ["1h"], "port": port},
                routes=[{"domain": "host.test", "next_hop": f"mail.own.test:{port}"}, {"domain": "literal.test", "next_hop": f"127.0.0.4:{port}"}],
                destinations=entries(limits))
            gateway = make_gateway(configuration)
            gateway.peers = peers

            def limit(limits):
                gateway.configure({**configuration, "destinations": entries(limits)})
                done = gateway.command("reload")
                assert done.returncode == 0, done.stderr

            gateway.limit = limit
            return gateway

        yield make


def entries(limits):
    return [{"domain": "default", "tls": "preferred"}] + [{"domain": name, **limit} for name, limit in limits.items()]


def send(gateway, count):
    """`count` mails for each domain, first for those that are limited."""
    with smtp.Client(gateway.address()) as c:
        c.ehlo()
        for domain in (*LIMITED, FREE):
            for _ in range(count):
                c.mail("", f"bob@{domain}", harness.message())
        c.quit()


def active(gateway, domain):
    lines = gateway.command("queue", "list", "--domain", domain, "--json").stdout.splitlines()
    return sum(json.loads(line)["state"] == "active" for line in lines)


def test_each_destination_keeps_its_own_concurrency(scene):
    """A destination begins with two connections; the servers hold theirs open before they greet."""
    gate = threading.Event()
    gateway = scene({name: {"concurrency": 1} for name in NAMES.values()}, pause=gate.wait)
    try:
        send(gateway, 4)
        harness.wait_for("the other one has two", lambda: len(gateway.peers[FREE].sessions) == 2)
        harness.wait_for("each limited one has one", lambda: all(len(gateway.peers[d].sessions) == 1 for d in LIMITED))
        assert {d: active(gateway, d) for d in gateway.peers} == {**{d: 1 for d in LIMITED}, FREE: 2}

        gateway.limit({"mail.own.test": {"concurrency": 1}, "127.0.0.4": {"rate": 0}})
        harness.wait_for("two of them are limited no more", lambda: all(len(gateway.peers[d].sessions) == 2 for d in ("own.test", "literal.test")))
        assert active(gateway, "host.test") == len(gateway.peers["host.test"].sessions) == 1
    finally:
        gate.set()
    for peer in gateway.peers.values():
        peer.wait(4)


def test_each_destination_keeps_its_own_rate(scene):
    """One mail a minute: the second one waits while the others have all theirs."""
    gateway = scene({name: {"rate": 1} for name in NAMES.values()})
    send(gateway, 3)
    gateway.peers[FREE].wait(3)
    for domain in LIMITED:
        gateway.peers[domain].wait(1)
        harness.wait_for("nothing is under way", lambda: active(gateway, domain) == 0)
        assert len(gateway.peers[domain].messages) == 1
    gateway.limit({"127.0.0.4": {"rate": 1}})
    gateway.peers["own.test"].wait(3)
    gateway.peers["host.test"].wait(3)
    assert len(gateway.peers["literal.test"].messages) == 1
