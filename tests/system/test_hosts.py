"""Where mail goes: MX records, host names, addresses of both families, ports, and what a route says about the connection. Conformance 2.01 to 2.18.

Servers stand on one port at several addresses of loopback, as MX hosts do on port 25.
"""

import contextlib
import re
import socket

import pytest

import dns
import harness
import smtp

NO_MX = "A 127.0.0.2"


@pytest.fixture
def servers(make_peer):
    """servers({address: options}) -> [Peer, ...] in that order, all on one port; None instead of options: nobody listens there."""
    def make(addresses):
        for _ in range(50):
            port = dns.free_port()
            with contextlib.ExitStack() as stack:
                try:
                    for address in addresses:
                        family = socket.AF_INET6 if ":" in address else socket.AF_INET
                        stack.enter_context(socket.create_server((address, port), family=family))
                except OSError:
                    continue
            return port, [options if options is None else make_peer(address=(address, port), **options)
                for address, options in addresses.items()]
        raise AssertionError("no port is free at all addresses")
    return make


@pytest.fixture
def make_dns():
    """make_dns({"a.test": records, ...}) -> the section `dns` of a gateway that asks this server."""
    with contextlib.ExitStack() as stack:
        def make(zones):
            named = {name: zone if isinstance(zone, dns.Zone) else dns.Zone(zone) for name, zone in zones.items()}
            return stack.enter_context(dns.Server(named)).settings()
        yield make


def outward(port, names, **more):
    """A gateway that relays for loopback, by MX on `port`."""
    delivery = {"retry": ["1h"], "port": port, **more.pop("delivery", {})}
    base = {
        "dns": names,
        "listeners": [{"name": "inbound", "type": "private", "address": "127.0.0.1:0", "certificate": "main", "policy": "out"}],
        "mail_flow_policies": [{"name": "out", "action": "relay", "tls": "preferred"}],
        "accepted_domains": None, "routes": None, "delivery": delivery,
    }
    return harness.settings(**{**base, **more})


def send(gateway, recipients="bob@a.test", sender="alice@sender.test"):
    return smtp.submit(gateway.address(), sender, recipients, harness.message())


def last_attempt(record, recipient=None):
    """The last attempt for the recipient (the only one)."""
    found = [r for r in record["recipients"] if recipient in (None, r["address"])]
    return found[0]["attempts"][-1]


def mx(*hosts):
    """Records: mx(("m1", 10, "127.0.0.2"), ...)."""
    return "\n".join(f"@ MX {preference} {name}\n{name} {'AAAA' if ':' in address else 'A'} {address}" for name, preference, address in hosts)


def test_2_01_2_08_a_dead_best_server_is_passed_over(make_gateway, servers, make_dns):
    port, (_, second, third) = servers({"127.0.0.2": None, "127.0.0.3": {}, "127.0.0.4": {}})
    names = make_dns({"a.test": mx(("m3", 30, "127.0.0.4"), ("m1", 10, "127.0.0.2"), ("m2", 20, "127.0.0.3"))})
    gateway = make_gateway(outward(port, names))
    send(gateway)
    attempt = last_attempt(gateway.tracked("delivered", sender="alice@sender.test"))
    assert (attempt["host"], attempt["address"]) == ("m2.a.test", f"127.0.0.3:{port}")
    assert len(second.messages) == 1 and third.messages == []
    assert re.search(rf" delivery_connect_failed dcid=\S+ destination=a.test host=m1.a.test address=127.0.0.2:{port} reason=\"450 4.4.1 ",
        gateway.stderr()), "what was tried is in the log"


def test_2_01_equal_servers_share_the_mail(make_gateway, servers, make_dns):
    port, (one, two, worse) = servers({"127.0.0.2": {}, "127.0.0.3": {}, "127.0.0.4": {}})
    names = make_dns({"a.test": mx(("m1", 10, "127.0.0.2"), ("m2", 10, "127.0.0.3"), ("m3", 11, "127.0.0.4"))})
    gateway = make_gateway(outward(port, names))
    sent = 0
    while not (one.messages and two.messages):
        assert sent < 40, "the better servers are chosen by chance"
        send(gateway)
        sent += 1
        gateway.tracked("delivered", count=sent, sender="alice@sender.test")
        wait_closed(gateway, sent)
    assert worse.messages == [] and len(one.messages) + len(two.messages) == sent


def wait_closed(gateway, count):
    harness.wait_for(f"{count} connections were closed", lambda: gateway.stderr().count(" delivery_closed ") >= count)


def test_2_02_mail_that_leads_back_here_is_returned(make_gateway, servers, make_dns):
    """Once by name, once by address; and worse servers than ourselves get nothing."""
    port, (worse,) = servers({"127.0.0.3": {}})
    names = make_dns({
        "a.test": mx(("us", 10, "127.0.0.1"), ("m2", 10, "127.0.0.3"), ("m3", 20, "127.0.0.3")),
        "b.test": f"@ MX 10 {harness.HOSTNAME}.\n@ MX 20 m3\nm3 A 127.0.0.3",
    })
    listeners = [{"name": "inbound", "type": "private", "address": f"127.0.0.1:{port}", "certificate": "main", "policy": "out"}]
    gateway = make_gateway(outward(port, names, listeners=listeners))
    for domain in ("a.test", "b.test"):
        send(gateway, f"bob@{domain}", f"{domain}@sender.test")
        attempt = last_attempt(gateway.tracked("bounced", sender=f"{domain}@sender.test"))
        assert attempt["reply"] == "554 5.4.6 mail for the domain leads back to this server"
    assert worse.sessions == []


@pytest.mark.parametrize("listener,record", [("127.0.0.1", "A 127.0.0.1"), ("127.0.0.1", "AAAA ::ffff:127.0.0.1"), ("127.0.0.1", "A 0.0.0.0"),
    ("127.0.0.1", "AAAA ::ffff:0.0.0.0"), ("0.0.0.0", "A 127.0.0.77"), ("0.0.0.0", "AAAA ::ffff:127.0.0.77"), ("[::1]", "AAAA ::1"),
    ("[::1]", "AAAA ::"), ("[::]", "AAAA ::1")])
def test_2_02_an_address_of_ours_in_the_DNS_makes_no_loop(make_gateway, servers, make_dns, listener, record):
    """Anybody may write any address into his zone."""
    port, _ = servers({})
    names = make_dns({"a.test": f"@ MX 10 us\nus {record}"})
    listeners = [{"name": "inbound", "type": "public", "address": f"{listener}:{port}", "certificate": "main", "policy": "none"}]
    gateway = make_gateway(outward(port, names, listeners=listeners, sender_groups=[{"name": "here", "networks": ["127.0.0.0/8", "::1"], "policy": "out"}],
        mail_flow_policies=[{"name": "out", "action": "relay", "tls": "preferred"}, {"name": "none", "tls": "preferred"}]))
    smtp.submit(("::1" if ":" in listener else "127.0.0.1", port), "alice@sender.test", "bob@a.test", harness.message())
    attempt = last_attempt(gateway.tracked("bounced", sender="alice@sender.test"))
    assert attempt["reply"] == "554 5.4.6 mail for the domain leads back to this server"


def test_1_66_2_02_a_loop_that_no_address_shows_ends(make_gateway, make_peer, make_dns, make_wiretap):
    """As when another machine translates our public address into the one that we have."""
    alice = make_peer(address=("127.0.0.4", 0))
    names = make_dns({"a.test": mx(("us", 10, "127.0.0.3")), "sender.test": mx(("m", 10, "127.0.0.4"))})
    gateway = make_gateway(outward(alice.port, names))
    make_wiretap(gateway.address(), ("127.0.0.3", alice.port))
    send(gateway)
    report = alice.wait()[0].content.decode()
    assert "Status: 5.4.6" in report and "bob@a.test" in report
    records = gateway.track(sender="alice@sender.test")
    states = [r["state"] for record in records for r in record["recipients"] if r["state"] != "refused"]  # the last round, noted a moment later
    assert sorted(set(states)) == ["bounced", "delivered"] and states.count("bounced") == 1 and 100 <= len(states) <= 102, states


@pytest.mark.parametrize("zone,state,reply", [
    (dns.Zone("@ " + NO_MX), "delivered", "250 2.0.0 taken"),
    (dns.Zone("x A 127.0.0.2"), "bounced", "550 5.4.4 no server of the domain has an address"),
    (dns.Zone("@ MX 10 192.0.2.1.\n@ MX 20 _m\n_m " + NO_MX), "delivered", "250 2.0.0 taken"),
    (dns.Zone("@ MX 10 alias\nalias CNAME m\nm " + NO_MX), "delivered", "250 2.0.0 taken"),
    (dns.Zone("@ MX 10 m\n@ " + NO_MX + "\nm " + NO_MX, dns.BOGUS), "deferred",
        "451 4.4.3 the servers of the domain could not be looked up: MX of a.test: bogus, "),
    (None, "bounced", "550 5.1.2 the domain does not exist"),
], ids=["2_03_no_MX", "no_address", "2_05_literal_and_underscore", "2_06_alias", "2_03_bogus", "2_03_no_domain"])
def test_2_03(make_gateway, servers, make_dns, zone, state, reply):
    port, (server,) = servers({"127.0.0.2": {}})
    gateway = make_gateway(outward(port, make_dns({"a.test": zone} if zone else {"b.test": ""})))
    send(gateway)
    attempt = last_attempt(gateway.tracked(state, recipient="bob@a.test"))
    assert attempt["reply"].startswith(reply)
    assert len(server.messages) == (state == "delivered")
    if zone and "alias" in zone.records:
        assert attempt["host"] == "alias.a.test", "the name as it stands in the MX record"


def test_2_03_a_failed_lookup_defers_only_its_own_mail(make_gateway, servers, make_dns):
    port, (server,) = servers({"127.0.0.2": {}})
    names = make_dns({"a.test": dns.Zone("@ " + NO_MX, dns.BOGUS), "b.test": "@ " + NO_MX})
    gateway = make_gateway(outward(port, names))
    send(gateway, ["bob@a.test", "bob@b.test"])
    server.wait()
    record, = gateway.track(sender="alice@sender.test")
    harness.wait_for("one is deferred, one delivered", lambda: {r["address"]: r["state"]
        for r in gateway.track(sender="alice@sender.test")[0]["recipients"]} == {"bob@a.test": "deferred", "bob@b.test": "delivered"})
    assert server.messages[0].recipients == ["bob@b.test"]


@pytest.mark.parametrize("first,second", [
    ({"::1": None}, {"127.0.0.1": {}}),
    ({"::1": {"greeting": "421 4.3.2 busy"}}, {"127.0.0.1": {}}),
    ({"::1": {"greeting": "554 5.7.1 go away"}}, {"127.0.0.1": {}}),
    ({"127.0.0.1": None}, {"::1": {}}),
], ids=["IPv6_is_dead", "IPv6_is_busy", "IPv6_refuses", "IPv4_is_dead"])
def test_2_08_both_families_in_one_attempt(make_gateway, servers, make_dns, first, second):
    port, (_, good) = servers({**first, **second})
    gateway = make_gateway(outward(port, make_dns({"a.test": "@ MX 10 m\nm A 127.0.0.1\nm AAAA ::1"})))
    send(gateway)
    record = gateway.tracked("delivered", sender="alice@sender.test")
    assert len(record["recipients"][0]["attempts"]) == 1
    assert last_attempt(record)["host"] == "m.a.test"
    assert good.messages[0].recipients == ["bob@a.test"]


def test_2_09_5xx_is_final_and_4xx_goes_to_the_next_server(make_gateway, servers, make_dns):
    """One mail, three recipients, three answers: tracking names for each the server that said it."""
    said = {"gone@a.test": "550 5.1.1 no such user", "later@a.test": "450 4.2.0 try again", "here@a.test": "250 2.1.5 ok"}
    port, (best, next_one) = servers({"127.0.0.2": {"rcpt": said}, "127.0.0.3": {}})
    gateway = make_gateway(outward(port, make_dns({"a.test": mx(("m1", 10, "127.0.0.2"), ("m2", 20, "127.0.0.3"))})))
    send(gateway, list(said))
    harness.wait_for("all are settled", lambda: sorted(r["state"] for r in gateway.track(sender="alice@sender.test")[0]["recipients"])
        == ["bounced", "delivered", "delivered"])
    record, = gateway.track(sender="alice@sender.test")
    hosts = {r["address"]: (r["state"], last_attempt(record, r["address"])["host"]) for r in record["recipients"]}
    assert hosts == {"gone@a.test": ("bounced", "m1.a.test"), "later@a.test": ("delivered", "m2.a.test"),
        "here@a.test": ("delivered", "m1.a.test")}
    assert best.messages[0].recipients == ["here@a.test"] and next_one.messages[0].recipients == ["later@a.test"]
    dcids = {last_attempt(record, a)["dcid"] for a in said}
    assert len(dcids) == 2
    assert all(last_attempt(record, a)["tls"]["obtained"] == "encrypted" for a in said)


@pytest.mark.parametrize("trouble", [
    {"greeting": "554 5.7.1 go away"}, {"greeting": "421 4.3.2 busy"}, {"mail": "451 4.7.1 later"}, {"data": "451 4.3.0 later"},
    {"dot": "452 4.3.1 full"},
], ids=["554_greeting", "421_greeting", "MAIL", "DATA", "dot"])
def test_2_09_2_10_what_is_no_verdict_goes_to_the_next_server(make_gateway, servers, make_dns, trouble):
    port, (_, good) = servers({"127.0.0.2": trouble, "127.0.0.3": {}})
    gateway = make_gateway(outward(port, make_dns({"a.test": mx(("m1", 10, "127.0.0.2"), ("m2", 20, "127.0.0.3"))})))
    send(gateway)
    record = gateway.tracked("delivered", sender="alice@sender.test")
    assert last_attempt(record)["host"] == "m2.a.test" and len(good.messages) == 1
    assert len(record["recipients"][0]["attempts"]) == 1


def test_2_09_when_all_say_later_it_is_later(make_gateway, servers, make_dns):
    port, (one, two) = servers({"127.0.0.2": {"rcpt": "450 4.2.0 grey"}, "127.0.0.3": {"rcpt": "451 4.7.1 grey, too"}})
    gateway = make_gateway(outward(port, make_dns({"a.test": mx(("m1", 10, "127.0.0.2"), ("m2", 20, "127.0.0.3"))})))
    send(gateway)
    attempt = last_attempt(gateway.tracked("deferred", sender="alice@sender.test"))
    assert (attempt["host"], attempt["reply"]) == ("m2.a.test", "451 4.7.1 grey, too")
    assert len(one.sessions) == len(two.sessions) == 1


def test_2_21_a_message_that_may_have_arrived_is_not_sent_to_the_next_server(make_gateway, servers, make_dns):
    port, (one, two) = servers({"127.0.0.2": {"close_after_dot": 1}, "127.0.0.3": {}})
    gateway = make_gateway(outward(port, make_dns({"a.test": mx(("m1", 10, "127.0.0.2"), ("m2", 20, "127.0.0.3"))})))
    send(gateway)
    attempt = last_attempt(gateway.tracked("deferred", sender="alice@sender.test"))
    assert attempt["host"] == "m1.a.test" and two.sessions == []


def test_2_09_a_server_that_said_later_is_not_asked_twice_in_an_attempt(make_gateway, servers, make_dns):
    """Over a connection that was open already, too."""
    port, (one, two) = servers({"127.0.0.2": {"rcpt": {"later@a.test": "450 4.2.0 try again"}}, "127.0.0.3": {}})
    gateway = make_gateway(outward(port, make_dns({"a.test": mx(("m1", 10, "127.0.0.2"), ("m2", 20, "127.0.0.3"))})))
    with smtp.Client(gateway.address()) as client:
        client.ehlo()
        for number, recipient in enumerate(("bob@a.test", "later@a.test")):
            client.mail(f"{number}@sender.test", recipient, harness.message())
    gateway.tracked("delivered", sender="0@sender.test")
    record = gateway.tracked("delivered", sender="1@sender.test")
    assert last_attempt(record)["host"] == "m2.a.test"
    assert sum(line == "RCPT TO:<later@a.test>" for s in one.sessions for line, _ in s.commands) == 1
    assert two.messages[0].recipients == ["later@a.test"]


@pytest.mark.parametrize("recipient,address", [("bob@[127.0.0.1]", "127.0.0.1"), ("bob@[IPv6:::1]", "::1")])
def test_2_07_address_literals_need_no_dns(make_gateway, servers, recipient, address):
    port, (server,) = servers({address: {}})
    gateway = make_gateway(outward(port, None))
    send(gateway, recipient)
    gateway.tracked("delivered", sender="alice@sender.test")
    assert server.messages[0].recipients == [recipient]


@pytest.mark.parametrize("next_hop", ["m.b.test:{port}", "mx:a.test:{port}", "mx:a.test", "127.0.0.2:{port}", "[127.0.0.2]:{port}"])
def test_a_route_names_its_server_in_every_form(make_gateway, servers, make_dns, next_hop):
    port, (server,) = servers({"127.0.0.2": {}})
    names = make_dns({"a.test": "@ MX 10 m.b.test.", "b.test": "m A 127.0.0.2\nm MX 10 no.b.test."})
    routes = [{"domain": "c.test", "next_hop": next_hop.format(port=port)}]
    gateway = make_gateway(outward(port, names, routes=routes))
    send(gateway, "bob@c.test")
    attempt = last_attempt(gateway.tracked("delivered", sender="alice@sender.test"))
    assert attempt["host"] == (routes[0]["next_hop"] if "127" in next_hop else "m.b.test")
    assert attempt["address"] == f"127.0.0.2:{port}"
    assert server.messages[0].recipients == ["bob@c.test"]


@pytest.mark.parametrize("next_hop", ["m.bücher.test:{port}", "mx:BÜCHER.test", "mx:xn--bcher-kva.test"])
def test_8_09_a_next_hop_beyond_ascii_is_found_by_its_a_label(make_gateway, servers, make_dns, next_hop):
    port, (peer,) = servers({"127.0.0.2": {}})
    names = make_dns({"xn--bcher-kva.test": mx(("m", 10, "127.0.0.2"))})
    next_hop = next_hop.format(port=port)
    gateway = make_gateway(outward(port, names, routes=[{"domain": "c.test", "next_hop": next_hop, "helo": "öut.good.test"}]))
    send(gateway, "bob@c.test")
    attempt = last_attempt(gateway.tracked("delivered", sender="alice@sender.test"))
    assert attempt["host"] == "m.xn--bcher-kva.test" and len(peer.messages) == 1
    assert peer.sessions[0].commands[0][0] == "EHLO xn--ut-eka.good.test" and peer.sessions[0].sni == "m.xn--bcher-kva.test"
    shown = gateway.json("config", "show")["routes"][0]
    assert shown["next_hop"] == next_hop, "as it was written"
    assert gateway.command("queue", "destinations").returncode == 0
    assert gateway.command("reload").returncode == 0


def test_a_next_hop_that_does_not_exist_can_be_mended(make_gateway, make_dns):
    """A mistake of the operator returns no mail."""
    routes = [{"domain": "a.test", "next_hop": "no.b.test"}, {"domain": "c.test", "next_hop": "mx:no.b.test"}]
    gateway = make_gateway(outward(25, make_dns({"b.test": ""}), routes=routes))
    send(gateway, ["bob@a.test", "bob@c.test"])
    record = gateway.tracked("deferred", sender="alice@sender.test")
    assert last_attempt(record, "bob@a.test")["reply"] == "451 4.4.4 the next hop has no address"
    assert last_attempt(record, "bob@c.test")["reply"] == "451 4.4.4 the next hop does not exist"


def test_source_and_helo_of_a_route(make_gateway, servers, make_dns):
    """Per route; a family without a source is not used."""
    port, (v4, v6) = servers({"127.0.0.1": {}, "::1": {}})
    routes = [
        {"domain": "a.test", "next_hop": f"m.b.test:{port}", "source": ["127.0.0.9"], "helo": "out.good.test"},
        {"domain": "c.test", "next_hop": f"m.b.test:{port}", "source": ["127.0.0.8", "::1"]},
    ]
    gateway = make_gateway(outward(port, make_dns({"b.test": "m A 127.0.0.1\nm AAAA ::1"}), routes=routes))
    send(gateway, "bob@a.test", "one@sender.test")
    gateway.tracked("delivered", sender="one@sender.test")
    session, = v4.sessions
    assert session.client == "127.0.0.9" and v6.sessions == []
    assert [line for line, _ in session.commands if line.startswith("EHLO")] == ["EHLO out.good.test"] * 2
    send(gateway, "bob@c.test", "two@sender.test")
    gateway.tracked("delivered", sender="two@sender.test")
    session, = v6.sessions
    assert session.client == "::1" and session.commands[0][0] == f"EHLO {harness.HOSTNAME}"


def test_a_source_that_this_machine_does_not_have(make_gateway, servers):
    port, (server,) = servers({"127.0.0.1": {}})
    routes = [{"domain": "default", "next_hop": f"127.0.0.1:{port}", "source": ["192.0.2.77"]}]
    gateway = make_gateway(outward(port, None, routes=routes))
    checked = gateway.command("check")
    assert checked.returncode == 0 and "`192.0.2.77` is no address of this machine now" in checked.stdout + checked.stderr
    send(gateway)
    attempt = last_attempt(gateway.tracked("deferred", sender="alice@sender.test"))
    assert attempt["reply"].startswith("450 4.4.1 cannot connect from the configured source")
    assert server.sessions == []


def test_2_15_2_17_domains_share_a_connection_only_under_equal_demands(make_gateway, servers, make_dns):
    """Three domains behind one next hop. The first two ask for the same; the third for more."""
    port, (server,) = servers({"127.0.0.2": {}})
    routes = [{"domain": d, "next_hop": "mx:b.test"} for d in ("a.test", "c.test", "d.test")]
    destinations = [{"domain": "default", "tls": "preferred"}, {"domain": "d.test", "tls": "required"}]
    gateway = make_gateway(outward(port, make_dns({"b.test": mx(("m", 10, "127.0.0.2"))}), routes=routes, destinations=destinations))
    send(gateway, ["bob@a.test", "bob@c.test", "bob@d.test"])
    record = gateway.tracked("delivered", sender="alice@sender.test")
    dcids = {r["address"]: last_attempt(record, r["address"])["dcid"] for r in record["recipients"]}
    assert dcids["bob@d.test"] not in (dcids["bob@a.test"], dcids["bob@c.test"])
    server.wait_sessions(len(set(dcids.values())))
    for session in server.sessions:
        recipients = {r for m in session.messages for r in m.recipients}
        assert recipients == {"bob@d.test"} or "bob@d.test" not in recipients


def test_call_ahead_asks_the_same_servers(make_gateway, servers, make_dns):
    port, (_, server) = servers({"127.0.0.2": None, "127.0.0.3": {"rcpt": {"gone@good.test": "550 5.1.1 no such user"}}})
    names = make_dns({"b.test": mx(("m1", 10, "127.0.0.2"), ("m2", 20, "127.0.0.3"))})
    gateway = make_gateway(harness.settings(dns=names, recipients={"call_ahead": "on"}, delivery={"retry": ["1h"], "port": port},
        routes=[{"domain": "good.test", "next_hop": "mx:b.test"}]))
    with smtp.Client(gateway.address()) as client:
        client.ehlo()
        client.expect("MAIL FROM:<alice@sender.test>", 250)
        client.expect("RCPT TO:<bob@good.test>", 250)
        client.expect("RCPT TO:<gone@good.test>", 550)
        client.quit()
    assert " host=m2.b.test answer=yes " in gateway.stderr()
