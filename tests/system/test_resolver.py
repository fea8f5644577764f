"""Role `resolver`: what the DNS says and whether DNSSEC vouches for it, over zones of every kind; servers that lie, are silent or cut short;
trust anchors; the role's life. `postern dns` asks as the gateway's own roles do."""

import contextlib
import json
import os
import pathlib
import signal
import struct
import subprocess
import threading

import pytest

import dns
import harness
import smtp
from test_conformance_resources import as_root, open_files, restrict

KINDS = {"good.test": "secure", "nsec3.test": "secure", "insecure.test": "insecure", "bogus.test": "bogus", "expired.test": "bogus"}

MORE = """
    @ MX 10 mx1
    @ MX 20 _mx_2
    @ A 127.0.0.1
    mx1 A 127.0.0.1
    mx1 AAAA 2001:db8::1
    _mx_2 A 127.0.0.2
    null MX 0 .
    literal MX 10 192.0.2.1.
    nothing TXT "x"
    big TXT """ + " ".join('"' + c * 250 + '"' for c in "abcdefghijklmnopqrstuvwxyzabcdefgh") + """
    many TXT "a\\"b\\\\c" "\\001\\233"
    loop1 CNAME loop2
    loop2 CNAME loop1
    self CNAME self
""" + "\n".join(f"chain{n} CNAME chain{n + 1}" for n in range(40)) + """
    chain40 A 127.0.0.40
"""


@pytest.fixture(scope="module")
def zones():
    reverse = dns.Zone("1 PTR Mail.Good.Test.\n2 CNAME 2.0/25")
    with dns.Server({**dns.standard(), "more.test": dns.Zone(MORE)}, outside={"2.0.192.in-addr.arpa": reverse}) as server:
        yield server


def ask(gateway, name, type="A"):
    """(exit code, the JSON of `postern dns`)"""
    done = gateway.command("dns", name, type, "--json", timeout=90)
    assert done.stdout, done.stderr
    return done.returncode, json.loads(done.stdout)


def records(gateway, name, type="A"):
    code, answer = ask(gateway, name, type)
    assert code == 0 and answer["result"] == "found", answer
    return sorted(answer["records"])


@contextlib.contextmanager
def asking(gateway, *questions):
    """Ask without waiting for the answers; their processes, which are waited for in the end."""
    processes = [subprocess.Popen([str(harness.BINARY), "-c", str(gateway.file), "dns", name, type, "--json"], stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE, text=True, env=harness.environment()) for name, type in questions]
    try:
        yield processes
    finally:
        for process in processes:
            process.communicate(timeout=90)


def waiting(gateway):
    return gateway.counters()["dns_waiting"]


# Zones


def test_each_kind_of_zone(make_gateway, zones):
    gateway = make_gateway(dns=zones.settings(), metrics={"address": "127.0.0.1:0"})
    for zone, security in KINDS.items():
        for name, type, want in ((zone, "MX", [f"10 mx1.{zone}."]), (f"mx1.{zone}", "A", ["127.0.0.1"]),
                (f"_25._tcp.mx1.{zone}", "TLSA", ["3 1 1 " + "ab" * 32]), (f"alias.{zone}", "A", ["127.0.0.1"])):
            code, answer = ask(gateway, name, type)
            if security == "bogus":
                assert (code, answer["result"], answer["security"], answer["records"]) == (75, "failed", "bogus", []), answer
                assert ("expired" if zone == "expired.test" else "signature") in answer["why"], answer
            else:
                assert (code, answer["result"], answer["security"], answer["records"]) == (0, "found", security, want), answer
                assert answer["why"] == "" if security == "secure" else "not signed" in answer["why"]
                assert 0 < answer["ttl"] <= 300
                assert answer["canonical"] == (f"mx1.{zone}" if name.startswith("alias") else name)
    counters = gateway.counters()
    assert {key: value for key, value in counters["dns_by"].items() if value} == {"found.secure": 8, "found.insecure": 4, "failed.bogus": 8}
    page = harness.run("curl", "-s", f"http://{gateway.status()['metrics']}/metrics").stdout
    assert 'postern_dns_questions_total{result="found",security="secure"} 8' in page
    assert "postern_dns_waiting 0" in page


@pytest.mark.parametrize("zone", ["good.test", "nsec3.test", "insecure.test"])
def test_no_such_name_and_no_such_record_are_told_apart(make_gateway, zones, zone):
    gateway = make_gateway(dns=zones.settings())
    for name, result in ((f"mx2.{zone}", "no_data"), (f"nobody.{zone}", "no_name"), (f"_25._tcp.mx2.{zone}", "no_name")):
        code, answer = ask(gateway, name, "TLSA")
        assert (code, answer["result"], answer["security"], answer["records"]) == (1, result, KINDS[zone], []), answer


def test_2_06_aliases_are_followed_and_loops_fail(make_gateway, zones):
    gateway = make_gateway(dns=zones.settings())
    code, answer = ask(gateway, "chain35.more.test")
    assert (code, answer["records"], answer["canonical"]) == (0, ["127.0.0.40"], "chain40.more.test"), answer
    for name in ("loop1", "self", "chain0"):
        code, answer = ask(gateway, f"{name}.more.test")
        assert (code, answer["result"]) == (75, "failed"), answer
        assert answer["why"]
    assert records(gateway, "loop1.more.test", "CNAME") == ["loop2.more.test."]


def test_2_05_odd_names_of_mail_servers(make_gateway, zones):
    gateway = make_gateway(dns=zones.settings())
    assert records(gateway, "more.test", "MX") == ["10 mx1.more.test.", "20 _mx_2.more.test."]
    assert records(gateway, "_MX_2.More.Test.") == ["127.0.0.2"]
    assert records(gateway, "literal.more.test", "MX") == ["10 192.0.2.1."]
    assert records(gateway, "null.more.test", "MX") == ["0 ."]
    assert records(gateway, "mx1.more.test", "AAAA") == ["2001:db8::1"]


def test_names_of_addresses(make_gateway, zones):
    gateway = make_gateway(dns=zones.settings())
    assert records(gateway, "192.0.2.1", "PTR") == ["mail.good.test."]
    done = gateway.command("dns", "192.0.2.1")
    assert done.returncode == 0 and "mail.good.test." in done.stdout


def test_a_large_answer_comes_over_tcp(make_gateway, zones):
    gateway = make_gateway(dns=zones.settings())
    text, = records(gateway, "big.more.test", "TXT")
    assert len(text) == 34 * 250 + 2
    assert records(gateway, "many.more.test", "TXT") == ['"a\\"b\\\\c\\001\\233"']


def test_a_truncated_answer_is_asked_for_over_tcp(make_gateway):
    asked = []

    def script(question):
        asked.append(threading.current_thread().name)
        whole = server.over_tcp.count((question.name, question.type)) > 0
        return question.answer([dns.record(question.name, "A", dns.a("192.0.2.1"))] if whole else [], truncated=not whole)

    with dns.Scripted(script) as server:
        gateway = make_gateway(dns=server.settings())
        assert records(gateway, "cut.test") == ["192.0.2.1"]
        assert server.count("cut.test", "A") == 1 and server.over_tcp == [("cut.test", "A")]


def test_2_04_malformed_records_are_left_out(make_gateway):
    answers = {
        "some.test": [dns.mx(10, "a.test")[:2], dns.mx(10, "b.test") + b"!", dns.mx(20, "good.test")],
        "all.test": [dns.mx(10, "a.test")[:2]],
        "srv.test": [],
    }

    def script(question):
        extra = [dns.record(question.name, "SRV", b"\0\1\0\2\0\x19")]
        return question.answer(extra + [dns.record(question.name, "MX", data) for data in answers[question.name]])

    with dns.Scripted(script) as server:
        gateway = make_gateway(dns=server.settings())
        for name in answers:
            code, answer = ask(gateway, name, "MX")
            # The library may refuse the whole packet; then nothing is known. What is never said: that there is no MX.
            assert answer["records"] in ([], ["20 good.test."]) and answer["result"] in ("found", "failed", "no_data"), answer
            assert answer["result"] != "no_data" or name == "srv.test", answer
        assert gateway.roles()["resolver"]["restarts"] == 0


def test_11_07_answers_are_bounded_and_names_that_lie_are_left_out(make_gateway):
    answers = {
        ("many.test", "A"): [dns.a(f"10.0.{n // 256}.{n % 256}") for n in range(2000)],
        ("long.test", "TXT"): [b"".join(b"\xff" + b"x" * 255 for _ in range(250))],
        ("1.test", "PTR"): [b"\x05a.b\r\n\0", b"\x03a\0b\0", b"\x03a b\0", b"\x04a\r\nb\0", dns.wire("Fine.test")],
        ("2.test", "PTR"): [b"\x05a.b\r\n\0"],
    }

    def script(question):
        whole = (question.name, question.type) in server.over_tcp
        return question.answer([dns.record(question.name, question.type, data) for data in answers[question.name, question.type]]
            if whole else [], truncated=not whole)

    with dns.Scripted(script) as server:
        gateway = make_gateway(dns=server.settings())
        assert len(records(gateway, "many.test")) == 1000
        assert len(records(gateway, "long.test", "TXT")[0]) == 250 * 255 + 2
        assert records(gateway, "1.test", "PTR") == ["fine.test."]
        code, answer = ask(gateway, "2.test", "PTR")
        assert (code, answer["result"]) == (75, "failed"), answer
        assert gateway.roles()["resolver"]["restarts"] == 0


# From the root on

NETWORK = "ip link set lo up && ip route add local 0.0.0.0/0 dev lo && echo ready && exec cat"


def can_unshare():
    return os.geteuid() == 0 and harness.run("unshare", "--net", "true").returncode == 0


@pytest.mark.skipif(not can_unshare(), reason="needs a network namespace (root)")
def test_from_the_root_on(make_gateway, monkeypatch):
    """In a network where every address is NSD: the servers of each zone are found from the root's on."""
    holder = subprocess.Popen(["unshare", "--net", "sh", "-c", NETWORK], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    try:
        assert holder.stdout.readline() == "ready\n"
        inside = ["nsenter", "--net", "--target", str(holder.pid), "--"]
        server = dns.Server(dns.standard("198.51.100.53"))
        server.add_root()
        server.start(53, "0.0.0.0", inside)
        script = server.folder / "postern"
        script.write_text(f'#!/bin/sh\nexec {" ".join(inside)} {harness.BINARY} "$@"\n')
        script.chmod(0o755)
        monkeypatch.setattr(harness, "BINARY", script)
        gateway = make_gateway(dns={"trust_anchor_file": str(server.anchor), "private_zones": ["test"]})
        harness.wait_for("it answers", lambda: gateway.command("dns", "ns.test").returncode == 0)
        for zone, security in KINDS.items():
            assert ask(gateway, zone, "MX")[1]["security"] == security, zone
        gateway.stop()
        server.stop()
    finally:
        holder.stdin.close()
        holder.wait(timeout=harness.PATIENCE)


# Many at once


def test_the_same_question_is_asked_once(make_gateway):
    release = threading.Event()

    def script(question):
        if not release.wait(0) and threading.current_thread().name != "tcp":
            return question.answer(truncated=True)  # TCP is not repeated while it waits
        release.wait(harness.PATIENCE)
        return question.answer([dns.record(question.name, "A", dns.a("192.0.2.1"))])

    with dns.Scripted(script) as server:
        gateway = make_gateway(dns=server.settings())
        with asking(gateway, *[("same.test", "A"), ("Same.TEST.", "A")] * 3) as processes:
            harness.wait_for("six wait for one answer", lambda: waiting(gateway) == 6)
            assert server.count("same.test", "A") == 1
            release.set()
            for process in processes:
                assert json.loads(process.communicate(timeout=harness.PATIENCE)[0])["records"] == ["192.0.2.1"]
        assert server.count("same.test", "A") == 1
        assert gateway.counters()["dns"]["found"] == 6 and waiting(gateway) == 0


def test_a_silent_zone_delays_only_its_own_questions(make_gateway):
    def script(question):
        return None if question.name.endswith("dead.test") else question.answer([dns.record(question.name, "A", dns.a("192.0.2.1"))])

    with dns.Scripted(script) as server:
        gateway = make_gateway(dns=server.settings(timeout="60s"))
        with asking(gateway, *[(f"n{n}.dead.test", "A") for n in range(40)]) as processes:
            harness.wait_for("all wait", lambda: waiting(gateway) == 40)
            for n in range(5):
                assert records(gateway, f"n{n}.fine.test") == ["192.0.2.1"]
            assert waiting(gateway) == 40, "the others still wait: nobody waited for them"
            for process in processes:
                process.kill()
            harness.wait_for("nobody waits", lambda: waiting(gateway) == 0)


def mail_to_many_domains(gateway, zone, count=60):
    """One mail to as many domains below `zone`: deliver asks for their MX records at once."""
    people = [f"bob@n{n}.{zone}" for n in range(count)]
    smtp.submit(gateway.address(), "alice@sender.test", people, harness.message())


def outward(server, **more):
    """A gateway that relays for loopback, to where MX records lead."""
    listeners = [{"name": "inbound", "type": "private", "address": "127.0.0.1:0", "certificate": "main", "policy": "out"}]
    return harness.settings(dns=server.settings(timeout="60s"), listeners=listeners, accepted_domains=None, routes=None,
        mail_flow_policies=[{"name": "out", "action": "relay", "tls": "preferred"}],
        delivery={"retry": ["1s"], "connections": 60, "port": dns.free_port()}, **more)


def udp_sockets(pid):
    """How many a process has."""
    known = {line.split()[9] for line in pathlib.Path("/proc/net/udp").read_text().splitlines()[1:]}
    count = 0
    for fd in os.listdir(f"/proc/{pid}/fd"):
        with contextlib.suppress(FileNotFoundError):
            count += os.readlink(f"/proc/{pid}/fd/{fd}").removeprefix("socket:[").rstrip("]") in known
    return count


def test_silent_servers_do_not_use_up_the_sockets_that_questions_are_asked_from(make_gateway):
    """libunbound's own limit is 16: who comes later would wait until the silent ones are given up."""
    speaks = threading.Event()

    def script(question):
        if not question.name.endswith("dead.test"):
            return question.answer([dns.record(question.name, "A", dns.a("192.0.2.1"))])
        return question.answer(code=3) if speaks.is_set() else None

    with dns.Scripted(script) as server:
        gateway = make_gateway(outward(server))
        pid = gateway.roles()["resolver"]["pid"]
        mail_to_many_domains(gateway, "dead.test")
        harness.wait_for(lambda: f"30 questions wait ({waiting(gateway)} do)", lambda: waiting(gateway) >= 30)
        harness.wait_for(lambda: f"each has a socket of its own ({udp_sockets(pid)} have)", lambda: udp_sockets(pid) >= 30)
        assert records(gateway, "fine.test") == ["192.0.2.1"]
        assert waiting(gateway) >= 30, "nobody waited for them"
        speaks.set()
        gateway.tracked("bounced", sender="alice@sender.test")


@as_root
def test_without_descriptors_questions_fail_for_now(make_gateway):
    """The mail waits, and goes on by itself; role resolver lives on."""
    with dns.Scripted(lambda question: question.answer(code=3)) as server:
        gateway = make_gateway(outward(server))
        assert ask(gateway, "first.test")[1]["result"] == "no_name"
        roles = gateway.roles()
        pid = roles["resolver"]["pid"]
        old = restrict(pid, "nofile", open_files(pid) + 1)
        mail_to_many_domains(gateway, "many.test", 20)
        harness.wait_for("some of them waits", lambda: "deferred" in {r["state"] for r in gateway.track(sender="alice@sender.test")[0]["recipients"]})
        states = {r["state"] for r in gateway.track(sender="alice@sender.test")[0]["recipients"]}
        assert states <= {"queued", "deferred", "bounced"}, states
        restrict(pid, "nofile", old)
        gateway.tracked("bounced", sender="alice@sender.test")
        assert {name: role["pid"] for name, role in gateway.roles().items()} == {name: role["pid"] for name, role in roles.items()}


def test_a_resolver_that_was_silent_for_one_zone_is_asked_for_others(make_gateway):
    """libunbound would not ask a server for minutes that was silent for 12 s."""
    def script(question):
        return None if question.name.endswith("dead.test") else question.answer([dns.record(question.name, "A", dns.a("192.0.2.1"))])

    with dns.Scripted(script) as server:
        gateway = make_gateway(dns=server.settings(timeout="60s"))
        for again in range(2):
            with asking(gateway, *[(f"n{n}.{again}.dead.test", "A") for n in range(5)]) as processes:
                for process in processes:
                    assert json.loads(process.communicate(timeout=90)[0])["result"] == "failed"
        assert records(gateway, "fine.test") == ["192.0.2.1"]


def test_no_answer_within_the_time_limit_is_failed(make_gateway):
    with dns.Scripted(lambda question: None) as server:
        gateway = make_gateway(dns=server.settings(timeout="500ms"))
        code, answer = ask(gateway, "dead.test", "MX")
        assert (code, answer["result"], answer["security"]) == (75, "failed", "unknown"), answer
        assert "in time" in answer["why"]
        assert gateway.counters()["dns_by"]["failed.unknown"] == 1
        harness.wait_for("the log says so", lambda: "dns_failed name=dead.test type=MX" in gateway.stderr())


def test_refusals_and_server_failures_are_failed_not_absent(make_gateway):
    with dns.Scripted(lambda question: question.answer(code=5 if "refused" in question.name else 2)) as server:
        gateway = make_gateway(dns=server.settings())
        for name in ("refused.test", "servfail.test"):
            code, answer = ask(gateway, name, "MX")
            assert (code, answer["result"]) == (75, "failed"), answer


def test_nobody_listens(make_gateway):
    gateway = make_gateway(dns={"forward": [f"127.0.0.1@{dns.free_port()}"], "timeout": "20s"})
    code, answer = ask(gateway, "good.example", "MX")
    assert (code, answer["result"]) == (75, "failed"), answer


# Trust anchors


def anchors(gateway):
    return {p.name: p.read_text() for p in (gateway.folder / "state/resolver").iterdir()}


def test_keys_that_succeed_the_anchor_are_followed(make_gateway):
    """RFC 5011: a key that the old one signs waits for its time; the state survives a restart, a damaged file does not stop the role."""
    with dns.Server({"good.test": dns.Zone("@ A 127.0.0.1")}) as server:
        gateway = make_gateway(dns=server.settings())
        assert ask(gateway, "good.test")[1]["security"] == "secure"
        (name, text), = anchors(gateway).items()
        assert name.startswith("anchor.test.") and text.count("[  VALID  ]") == 1
        server.stop()
        server.sign("test", dns.SIGNED, server._tool("ldns-keygen", "-a", server.algorithm, "-k", "test"))
        server.start(server.port)
        gateway.stop()
        gateway.start()
        assert ask(gateway, "good.test")[1]["security"] == "secure"
        text = anchors(gateway)[name]
        assert text.count("[  VALID  ]") == 1 and text.count("[ ADDPEND ]") == 1, text
        gateway.stop()
        (gateway.folder / "state/resolver" / name).write_text("test. IN DS nonsense\n")
        gateway.start()
        assert ask(gateway, "good.test")[1]["security"] == "secure"


def test_other_anchors_begin_anew(make_gateway):
    with dns.Server({"good.test": dns.Zone("@ A 127.0.0.1")}) as server:
        gateway = make_gateway(dns=server.settings())
        assert ask(gateway, "good.test")[1]["security"] == "secure"
        wrong = harness.make_folder() / "wrong"
        wrong.write_text("test. IN DS 12345 13 2 " + "00" * 32 + "\n")
        gateway.configure(harness.settings(dns=server.settings(trust_anchor_file=str(wrong))))
        assert gateway.command("reload").returncode == 0
        code, answer = ask(gateway, "good.test")
        assert (code, answer["security"]) == (75, "bogus"), answer
        assert len(anchors(gateway)) == 2


def test_a_private_zone_without_an_anchor_is_insecure(make_gateway, zones):
    """Under the root's anchor it would be bogus, as the root proves that there is none."""
    gateway = make_gateway(dns=zones.settings(trust_anchor_file=None))
    assert ask(gateway, "good.test")[1]["security"] == "insecure"


def test_a_name_that_is_not_private_is_not_asked_for(make_gateway, zones):
    gateway = make_gateway(dns=zones.settings(private_zones=None))
    assert ask(gateway, "good.test")[1]["result"] == "no_name", "test. is known not to be in the public DNS"


# The role


def test_it_comes_back_when_it_is_killed(make_gateway, zones):
    gateway = make_gateway(dns=zones.settings())
    assert records(gateway, "good.test") == ["127.0.0.1"]
    pid = gateway.roles()["resolver"]["pid"]
    os.kill(pid, signal.SIGKILL)
    harness.wait_for("it answers again", lambda: gateway.command("dns", "good.test").returncode == 0)
    role = gateway.roles()["resolver"]
    assert role["up"] and role["pid"] != pid and role["restarts"] == 1


def test_asks_end_when_it_dies(make_gateway):
    with dns.Scripted(lambda question: None) as server:
        gateway = make_gateway(dns=server.settings(timeout="60s"))
        with asking(gateway, ("dead.test", "A")) as processes:
            harness.wait_for("it waits", lambda: waiting(gateway) == 1)
            os.kill(gateway.roles()["resolver"]["pid"], signal.SIGKILL)
            answer = json.loads(processes[0].communicate(timeout=harness.PATIENCE)[0])
            assert processes[0].returncode == 75 and answer["result"] == "failed"


def test_a_reload_keeps_the_cache_or_asks_anew(make_gateway):
    answers = {"a": "192.0.2.1"}

    def script(question):
        return question.answer([dns.record(question.name, "A", dns.a(answers["a"]))])

    with dns.Scripted(script) as server, dns.Scripted(script) as other:
        gateway = make_gateway(dns=server.settings())
        assert records(gateway, "a.test") == ["192.0.2.1"]
        answers["a"] = "192.0.2.2"
        gateway.configure(harness.settings(dns=server.settings(timeout="19s")))
        assert gateway.command("reload").returncode == 0
        assert records(gateway, "a.test") == ["192.0.2.1"], "from the cache"
        gateway.configure(harness.settings(dns=other.settings()))
        assert gateway.command("reload").returncode == 0
        assert records(gateway, "a.test") == ["192.0.2.2"]
        assert other.count("a.test", "A") == 1


def test_a_reload_asks_anew_what_is_on_its_way(make_gateway):
    def script(question):
        return question.answer([dns.record(question.name, "A", dns.a("192.0.2.1"))])

    with dns.Scripted(lambda question: None) as silent, dns.Scripted(script) as server:
        gateway = make_gateway(dns=silent.settings(timeout="60s"))
        with asking(gateway, ("a.test", "A")) as processes:
            harness.wait_for("it waits", lambda: waiting(gateway) == 1)
            gateway.configure(harness.settings(dns=server.settings(timeout="60s")))
            assert gateway.command("reload").returncode == 0
            assert json.loads(processes[0].communicate(timeout=harness.PATIENCE)[0])["records"] == ["192.0.2.1"]


def test_its_only_files_are_its_anchors(make_gateway, zones):
    gateway = make_gateway(dns=zones.settings())
    assert records(gateway, "good.test") == ["127.0.0.1"]
    pid = gateway.roles()["resolver"]["pid"]
    assert os.path.realpath(f"/proc/{pid}/cwd") == os.path.realpath(gateway.folder / "state/resolver")
    opened = {os.readlink(f"/proc/{pid}/fd/{fd}") for fd in os.listdir(f"/proc/{pid}/fd") if os.path.lexists(f"/proc/{pid}/fd/{fd}")}
    ours = {name for name in opened if name.startswith("/") and not name.startswith(("/dev/", "/memfd:"))}
    assert ours <= {str(gateway.errors), os.path.realpath(gateway.errors)}, ours


# Wrong settings and wrong usage


def test_check_names_what_is_wrong(make_gateway, zones):
    empty = harness.make_folder() / "empty"
    empty.write_text("; nothing\n")
    gateway = make_gateway(start=False, dns=zones.settings(trust_anchor_file=str(empty), forward=["dns.example"]))
    done = gateway.command("check")
    assert done.returncode == 1
    assert "dns.trust_anchor_file" in done.stderr and "has no trust anchor" in done.stderr
    assert "dns.forward[1]: expected an address such as 192.0.2.53" in done.stderr
    gateway.configure(harness.settings(dns=zones.settings(trust_anchor_file="/nowhere/ta")))
    done = gateway.command("check")
    assert done.returncode == 1 and "`/nowhere/ta` cannot be read" in done.stderr


def test_the_command_says_why_an_answer_is_insecure(make_gateway, zones):
    gateway = make_gateway(dns=zones.settings())
    code, answer = ask(gateway, "insecure.test")
    assert (answer["security"], answer["why"][:23]) == ("insecure", "its zone is not signed,")
    assert ask(gateway, "good.test")[1]["why"] == ""
    for private, records, why in ((["test"], 1, "dns.private_zones names its zone, which is not validated"),
            ([], 0, "its zone is reserved: nobody was asked; a network that has it names it in dns.private_zones")):
        gateway.configure(harness.settings(dns={"forward": zones.settings()["forward"], "private_zones": private}))
        assert gateway.command("reload").returncode == 0
        code, answer = ask(gateway, "good.test")
        assert (answer["security"], answer["why"], len(answer["records"])) == ("insecure", why, records)
        assert f"  insecure because {why}\n" in gateway.command("dns", "good.test").stdout


def test_the_command_says_what_it_takes(make_gateway, zones):
    gateway = make_gateway(start=False, dns=zones.settings())
    for arguments, word in (((), "NAME"), (("a b",), "cannot be a name"), (("good.test", "SRV"), "none of A, AAAA"),
            (("good.test", "A", "x"), "unknown argument")):
        done = gateway.command("dns", *arguments)
        assert done.returncode == 2 and word in done.stderr, (arguments, done.stderr)
    done = gateway.command("dns", "good.test")
    assert done.returncode == 75 and "no gateway is running" in done.stderr
