"""TLSA records that change while mail flows: rolled over, exchanged, withdrawn, out of reach. Knot signs each change. Conformance 3.04, 3.36."""

import base64
import hashlib
import subprocess
import time

import pytest

import harness
import knot
import peer as scripted
import smtp

TTL = 1  # of the records; those of the MX and the address stay for minutes


def record(pki):
    """3 1 1 of the certificate."""
    text = subprocess.run(["openssl", "x509", "-in", pki.server, "-noout", "-pubkey"], capture_output=True, check=True, text=True).stdout
    return "3 1 1 " + hashlib.sha256(base64.b64decode("".join(text.split("-----")[2].split()))).hexdigest()


class Flow:
    """A gateway that sends to roll.test, its one server, and the zone. Each mail is tried once, and again by hand."""

    def __init__(self, names, gateway, peer):
        self.names, self.gateway, self.peer = names, gateway, peer
        self.owner, self.sent = f"_{peer.port}._tcp.mx", 0

    def submit(self):
        """Send one mail; its sender."""
        self.sent += 1
        sender = f"m{self.sent}@sender.test"
        smtp.submit(self.gateway.address(), sender, "bob@roll.test", harness.message())
        return sender

    def send(self):
        """Send one mail; what tracking says of its first attempt, with the recipient's `state` in it."""
        return self.tried(self.submit())

    def tried(self, sender):
        def tried():
            found = [r for record in self.gateway.track(sender=sender) for r in record["recipients"] if r["attempts"]]
            return found and {**found[0]["attempts"][0], "state": found[0]["state"]}
        return harness.wait_for(lambda: f"the mail of {sender} was tried\n" + self.gateway.stderr()[-3000:], tried)

    def is_verified(self, attempt):
        return attempt["state"] == "delivered" and attempt["tls"]["obtained"] == "verified"

    def publish(self, *lines):
        """The lines with {o} for the owner of the records and {t} for their TTL; returns when no answer from before may be used any more."""
        self.names.change(*(line.format(o=self.owner, t=TTL) for line in lines))
        over = time.monotonic() + TTL + 1
        harness.wait_for("the records' time to live is over", lambda: time.monotonic() > over)

    def present(self, pki):
        """The server has another certificate for new connections."""
        self.peer.context.load_cert_chain(pki.server, pki.key)


@pytest.fixture(scope="module")
def keys(tmp_path_factory):
    return [harness.Pki(tmp_path_factory.mktemp(f"key{n}")) for n in range(3)]


@pytest.fixture
def make_flow(make_gateway, make_peer, keys):
    servers = []

    def make(dane, names=None, **peer_options):
        zone = knot.Server("roll.test", "@ MX 10 mx\nmx A 127.0.0.2").__enter__()
        servers.append(zone)
        peer = make_peer(address=("127.0.0.2", 0), **peer_options)
        gateway = make_gateway(harness.settings(dns=zone.settings(**(names or {})), routes=None, accepted_domains=None,
            listeners=[{"name": "inbound", "type": "private", "address": "127.0.0.1:0", "certificate": "main", "policy": "out"}],
            mail_flow_policies=[{"name": "out", "action": "relay", "tls": "preferred"}],
            destinations=[{"domain": "default", "tls": "required" if dane == "mandatory" else "preferred", "dane": dane}],
            delivery={"retry": ["1h"], "port": peer.port, "concurrency": 1}))
        flow = Flow(zone, gateway, peer)
        flow.present(keys[0])
        return flow

    yield make
    for server in servers:
        server.__exit__(None, None, None)


def test_3_27_3_36_a_roll_over_with_both_records_defers_nothing(make_flow, keys):
    old, new = record(keys[0]), record(keys[1])
    flow = make_flow("mandatory")
    flow.publish(f"+ {{o}} {{t}} TLSA {old}")
    assert flow.is_verified(flow.send())
    flow.publish(f"+ {{o}} {{t}} TLSA {new}")
    assert flow.is_verified(flow.send())
    flow.present(keys[1])
    assert flow.is_verified(flow.send())
    flow.publish(f"- {{o}} TLSA {old}")
    attempt = flow.send()
    assert flow.is_verified(attempt)
    assert attempt["tls"]["peer"]["sha256"] == keys[1].fingerprint(), "by the new key, on a connection that was opened under the new records"


def test_3_36_an_exchanged_record_counts_when_its_time_is_over(make_flow, keys):
    """The server's key changes too early; the mail waits for the record, and then it goes."""
    flow = make_flow("opportunistic")
    flow.publish(f"+ {{o}} {{t}} TLSA {record(keys[0])}")
    assert flow.is_verified(flow.send())
    flow.publish(f"+ {{o}} {{t}} TLSA {record(keys[2])}", f"- {{o}} TLSA {record(keys[0])}")
    for _ in range(3):
        attempt = flow.send()
        assert attempt["state"] == "deferred" and " 4.7.5 " in attempt["reply"], "neither by old records nor by an open connection"
    flow.publish(f"+ {{o}} {{t}} TLSA {record(keys[0])}", f"- {{o}} TLSA {record(keys[2])}")
    assert flow.gateway.command("queue", "flush", "--all").returncode == 0
    flow.gateway.tracked("delivered", count=4)
    assert len(flow.peer.messages) == 4 and all(m.tls for m in flow.peer.messages)


def hold_first(make_flow, keys):
    """(flow, gate, senders): the first of ten mails is on its connection, the reply to it held back, and the others wait for that connection."""
    gate = scripted.Gate()
    flow = make_flow("mandatory", pause=gate.hold)
    gate.peer = flow.peer
    flow.publish(f"+ {{o}} {{t}} TLSA {record(keys[0])}")
    senders = [flow.submit()]
    flow.peer.wait()  # all of it is there
    return flow, gate, senders + [flow.submit() for _ in range(9)]


def test_2_15_3_36_an_open_connection_ends_with_the_records_it_was_opened_under(make_flow, keys):
    """The server's key never changes."""
    flow, gate, (first, *others) = hold_first(make_flow, keys)
    flow.publish(f"+ {{o}} {{t}} TLSA {record(keys[2])}", f"- {{o}} TLSA {record(keys[0])}")
    for _ in range(10):
        gate.open()
    assert flow.is_verified(flow.tried(first))
    for sender in others:
        attempt = flow.tried(sender)
        assert attempt["state"] == "deferred" and " 4.7.5 " in attempt["reply"]
    assert len(flow.peer.messages) == 1


def test_2_15_an_open_connection_goes_on_under_the_same_records(make_flow, keys):
    """As above, with records that stay. Another thread may be quicker than the one with the connection, but not always."""
    flow, gate, senders = hold_first(make_flow, keys)
    for _ in range(10):
        gate.open()
    attempts = [flow.tried(sender) for sender in senders]
    assert all(flow.is_verified(attempt) for attempt in attempts)
    assert len({attempt["dcid"] for attempt in attempts}) < len(attempts)


@pytest.mark.parametrize("dane,state,obtained", [("opportunistic", "delivered", "encrypted"), ("mandatory", "deferred", None)])
def test_3_03_3_36_withdrawn_records(make_flow, keys, dane, state, obtained):
    flow = make_flow(dane)
    flow.publish(f"+ {{o}} {{t}} TLSA {record(keys[1])}")
    assert flow.send()["state"] == "deferred"
    flow.publish("- {o} TLSA")
    attempt = flow.send()
    assert attempt["state"] == state and (obtained is None or attempt["tls"]["obtained"] == obtained)


def test_3_04_3_36_records_out_of_reach_are_not_withdrawn(make_flow, keys):
    """The zone's server is gone and the records are too old: nothing is sent, though MX and address are still known."""
    flow = make_flow("opportunistic", names={"timeout": "2s"})
    flow.publish(f"+ {{o}} {{t}} TLSA {record(keys[0])}")
    assert flow.is_verified(flow.send())
    flow.names.stop()
    over = time.monotonic() + TTL + 1
    harness.wait_for("the records' time to live is over", lambda: time.monotonic() > over)
    assert flow.send()["state"] == "deferred"
    assert len(flow.peer.messages) == 1
