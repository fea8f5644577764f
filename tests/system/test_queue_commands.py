"""`postern queue ...`: what an operator sees of the queue and orders, and destinations that must not delay the others."""

import datetime
import json
import os
import re
import resource
import smtplib
import socket
import sqlite3
import subprocess
import threading

import pytest

import harness
import peer as peers

WAITS = {"retry": ["7d"]}


def send(gateway, *recipients, sender="alice@sender.test", subject="a test"):
    """Hand in one mail; its number."""
    host, port = gateway.address()
    with smtplib.SMTP(host, port) as client:
        client.ehlo()
        client.mail(sender)
        for recipient in recipients:
            assert client.rcpt(recipient)[0] == 250
        code, text = client.data(harness.message(subject, recipient=recipients[0]))
        assert code == 250, text
    return int(text.split()[-1])


def queue(gateway, *arguments, status=0):
    done = gateway.command("queue", *map(str, arguments))
    assert done.returncode == status, (arguments, done.returncode, done.stdout, done.stderr)
    return done


def listed(gateway, *arguments):
    """mid -> object of `queue list --json`."""
    lines = queue(gateway, "list", *arguments, "--json").stdout.splitlines()
    return {mail["mid"]: mail for mail in map(json.loads, lines)}


def states(gateway):
    return {mid: mail["state"] for mid, mail in listed(gateway).items()}


def wait_state(gateway, mid, state):
    harness.wait_for(lambda: f"mail {mid} is {state}: {states(gateway)}", lambda: states(gateway).get(mid) == state)


@pytest.fixture
def waiting(make_gateway):
    """A gateway whose only next hop is down, with three mails that wait."""
    hop = harness.free_address()
    gateway = make_gateway(next_hop=hop, delivery=WAITS, accepted_domains=["good.test", "fine.test"],
        routes=[{"domain": "good.test", "next_hop": hop}, {"domain": "fine.test", "next_hop": hop}, {"domain": "default", "next_hop": hop}])
    gateway.hop = hop
    gateway.mids = [send(gateway, "bob@good.test", "carol@fine.test"), send(gateway, "dave@good.test", sender=""),
        send(gateway, "Erin@good.test")]
    harness.wait_for("a delivery was tried", lambda: "deferred" in str(states(gateway)))
    return gateway


def test_list_shows_one_line_for_each_mail_and_filters_choose(waiting):
    one, two, three = waiting.mids
    lines = queue(waiting, "list").stdout.splitlines()
    assert lines[0].startswith("number  age") and lines[-1] == "3 mails"
    assert [int(line.split()[0]) for line in lines[1:-1]] == waiting.mids
    assert "<alice@sender.test> -> bob@good.test carol@fine.test" in lines[1]
    assert queue(waiting, "list", "--limit", 1).stdout.splitlines()[-1] == "1 mail"
    assert set(listed(waiting, "--sender", "", two)) == set(listed(waiting, two)) == {two}
    mails = listed(waiting)
    assert set(mails) == {one, two, three}
    assert mails[one]["recipient_count"] == 2 and mails[one]["size"] > 100 and mails[one]["age_seconds"] >= 0
    assert mails[one]["recipients"][0]["destination"] == waiting.hop
    assert any("cannot connect" in (mail["last_reply"] or "") for mail in mails.values())
    for arguments, want in (
        (["--mid", two], {two}), (["--sender", ""], {two}), (["--sender", "ALICE@sender.test"], {one, three}),
        (["--recipient", "erin@good.test"], {three}), (["--domain", "fine.test"], {one}), (["--domain", "none.test"], set()),
        (["--destination", waiting.hop], {one, two, three}), (["--older", "1h"], set()), (["--limit", 2], {one, two}),
        (["--state", "held"], set()), (["--sender", "<>", "--domain", "fine.test"], set()),
    ):
        assert set(listed(waiting, *arguments)) == want, arguments
    assert "nothing that matches" in queue(waiting, "list", "--domain", "none.test").stderr


def test_show_knows_everything_and_content_is_byte_for_byte(waiting):
    mid = waiting.mids[0]
    shown = json.loads(queue(waiting, "show", mid, "--json").stdout)
    assert shown["mid"] == mid and shown["inbound"]["tls"]["reason"]
    assert {r["address"] for r in shown["queue"]} == {"bob@good.test", "carol@fine.test"}
    text = queue(waiting, "show", mid).stdout
    assert "bob@good.test" in text and "came from 127.0.0.1" in text and "in the queue:" in text
    content = subprocess.run([str(harness.BINARY), "-c", str(waiting.file), "queue", "show", str(mid), "--content"],
        stdin=subprocess.DEVNULL, capture_output=True, check=True, env=harness.environment()).stdout
    assert harness.split_received(content)[1] == harness.message(recipient="bob@good.test")
    assert "no mail 999 is queued" in queue(waiting, "show", 999, status=1).stderr


def test_large_content_is_shown_from_its_file_with_and_without_a_gateway(make_gateway):
    gateway = make_gateway(next_hop=harness.free_address(), delivery=WAITS)
    host, port = gateway.address()
    body = "".join(f"{n} " + "x" * 70 + "\r\n" for n in range(5000))
    with smtplib.SMTP(host, port) as client:
        client.sendmail("alice@sender.test", ["bob@good.test"], harness.message(body=body))

    def content():
        done = subprocess.run([str(harness.BINARY), "-c", str(gateway.file), "queue", "show", "1", "--content"],
            stdin=subprocess.DEVNULL, capture_output=True, check=True, env=harness.environment())
        return harness.split_received(done.stdout)[1]

    assert content() == harness.message(body=body)
    gateway.stop()
    assert content() == harness.message(body=body)


def test_without_a_gateway_list_and_show_read_the_store_and_the_others_try_later(waiting):
    before = listed(waiting)
    queue(waiting, "hold", waiting.mids[0])
    queue(waiting, "suspend", waiting.hop)
    waiting.stop()
    after = listed(waiting)
    assert set(after) == set(before)
    assert after[waiting.mids[0]]["state"] == "held" and after[waiting.mids[1]]["state"] == "suspended"
    assert after[waiting.mids[1]]["recipients"][0]["destination"] == waiting.hop
    assert json.loads(queue(waiting, "show", waiting.mids[0], "--json").stdout)["queue"]
    for verb in ("flush", "hold", "release", "delete", "expire", "suspend", "resume"):
        assert "no gateway is running" in queue(waiting, verb, waiting.mids[0], status=75).stderr
    assert "no gateway" in queue(waiting, "reroute", waiting.mids[0], "--to", "127.0.0.1:1", status=75).stderr


def test_held_mail_stays_over_a_restart_until_it_is_released(waiting, make_sink):
    sink = make_sink()
    one, two, three = waiting.mids
    queue(waiting, "hold", "--mid", two)
    waiting.stop()
    waiting.configure(harness.settings(next_hop=sink.address, delivery=WAITS, accepted_domains=["good.test", "fine.test"],
        routes=[{"domain": "default", "next_hop": sink.address}]))
    waiting.start()
    queue(waiting, "flush", "--all")
    waiting.tracked("delivered", mid=one)
    waiting.tracked("delivered", mid=three)
    assert states(waiting) == {two: "held"}
    assert waiting.status()["queue"]["held"] == 1
    assert "1 held" in waiting.command("status").stdout
    queue(waiting, "release", "--state", "held")
    waiting.command("queue", "flush", str(two))  # in case it had been tried before; else it is gone at once
    waiting.tracked("delivered", mid=two)
    assert len(sink.messages) == 4


def test_delete_says_how_many_and_wants_a_yes(waiting):
    done = queue(waiting, "delete", "--domain", "good.test", status=2)
    assert "3 mails match (3 recipients" in done.stderr and "--yes" in done.stderr
    assert len(listed(waiting)) == 3
    done = json.loads(queue(waiting, "delete", "--domain", "good.test", "--yes", "--json").stdout)
    assert (done["matched"], done["mails"], done["recipients"], done["left"]) == (3, 3, 3, {})
    assert set(listed(waiting)) == {waiting.mids[0]}
    record = waiting.track(mid=waiting.mids[1])[0]
    assert record["recipients"][0]["state"] == "deleted"
    assert record["recipients"][0]["attempts"][-1]["reply"] == f"deleted by the operator (uid {os.getuid()})"
    log = waiting.stderr()
    assert re.search(rf"queue_command command=delete uid={os.getuid()} filter=.?domain=good.test", log)
    assert f"deleted mid={waiting.mids[1]} rid=1 recipient=dave@good.test uid={os.getuid()}" in log
    assert queue(waiting, "delete", "--domain", "good.test", "--yes", status=1).stdout
    # Nobody was told.
    assert all(mail["sender"] != "" for mail in listed(waiting).values())


def test_expire_returns_the_mail_to_its_sender_also_when_it_is_held(waiting, make_sink):
    one = waiting.mids[0]
    queue(waiting, "hold", one)
    queue(waiting, "suspend", waiting.hop)
    assert "match" in queue(waiting, "expire", one, status=2).stderr
    queue(waiting, "expire", "--mid", one, "--recipient", "carol@fine.test", "--yes")
    harness.wait_for("the report is queued", lambda: any(m["sender"] == "" and
        m["recipients"][0]["address"] == "alice@sender.test" for m in listed(waiting).values()))
    record = waiting.track(mid=one)[0]
    assert {r["address"]: r["state"] for r in record["recipients"]}["carol@fine.test"] == "bounced"
    assert states(waiting)[one] == "held"
    report = next(m for m in listed(waiting).values() if m["recipients"][0]["address"] == "alice@sender.test")
    assert "carol@fine.test" in queue(waiting, "show", report["mid"], "--content").stdout


def test_the_report_of_mail_that_was_given_up_has_its_last_answer(waiting):
    """The operator's order is why it is over; what the server said is why it was not delivered."""
    queue(waiting, "flush", "--sender", "alice@sender.test")
    tried = harness.wait_for("a mail with a sender was tried",
        lambda: [mail for mail in listed(waiting).values() if "deferred" in mail["state"] and mail["sender"]])[0]
    untried = send(waiting, "gina@good.test")

    def reports(mid):
        queue(waiting, "expire", mid, "--yes")
        harness.wait_for("all are given up", lambda: {r["state"] for r in waiting.track(mid=mid)[0]["recipients"]} == {"bounced"})
        return "".join(queue(waiting, "show", report, "--content").stdout for report in waiting.track(mid=mid)[0]["reports"])

    gave_up = "550 5.4.7 not delivered; the operator of this server gave it up"
    assert f"{gave_up}; the last answer was: 450 4.4.1 cannot connect" in reports(tried["mid"])
    text = reports(untried)
    assert gave_up in text and "last answer" not in text


def test_a_suspended_destination_gets_nothing_until_it_is_resumed(make_gateway, make_peer):
    peer = make_peer()
    gateway = make_gateway(next_hop=peer.address, delivery=WAITS)
    queue(gateway, "suspend", peer.address)
    mid = send(gateway, "bob@good.test")
    wait_state(gateway, mid, "suspended")
    gateway.stop()
    gateway.start()
    wait_state(gateway, mid, "suspended")
    suspended = gateway.status()["queue"]["suspended"]
    assert [(s["destination"], s["waiting"]) for s in suspended] == [(peer.address, 1)]
    assert f"suspended {peer.address}" in gateway.command("status").stdout
    assert not peer.sessions
    queue(gateway, "resume", peer.address)
    gateway.tracked("delivered", mid=mid)
    assert gateway.status()["queue"]["suspended"] == []


def test_rerouted_mail_goes_to_the_other_server_and_new_mail_does_not(waiting, make_peer):
    peer = make_peer()
    mid = waiting.mids[2]
    assert "takes a next hop" in queue(waiting, "reroute", mid, "--to", "300.1.2.3", "--yes", status=2).stderr
    asked = queue(waiting, "reroute", mid, "--to", peer.address, status=2).stderr
    assert f"reroute to {peer.address}: 1 mail matches (1 recipient, " in asked and f"add --yes to reroute it to {peer.address}" in asked
    assert f"no route and no queued mail has a next hop called {peer.address}" in asked
    assert "no route" not in queue(waiting, "reroute", mid, "--to", waiting.hop, status=2).stderr
    queue(waiting, "reroute", mid, "--to", peer.address, "--yes")
    waiting.tracked("delivered", mid=mid)
    assert [m.recipients for m in peer.messages] == [["Erin@good.test"]]
    assert set(listed(waiting)) == set(waiting.mids[:2])


def moment(text):
    return datetime.datetime.fromisoformat(text.replace("Z", "+00:00")).timestamp()


def destinations(gateway, *arguments):
    """name -> object of `queue destinations --json`."""
    lines = queue(gateway, "destinations", *arguments, "--json").stdout.splitlines()
    return {d["destination"]: d for d in map(json.loads, lines)}


def test_a_destination_that_is_paused_says_why_since_when_and_until_when(make_gateway):
    hop, other, reason = harness.free_address(), "127.0.0.1:9", "450 4.4.1 cannot connect: Connection refused"
    gateway = make_gateway(next_hop=hop, delivery={"retry": ["7d"], "rate": 600}, accepted_domains=["good.test", "fine.test"],
        routes=[{"domain": "fine.test", "next_hop": other}, {"domain": "default", "next_hop": hop}])
    queue(gateway, "suspend", other)
    first = send(gateway, "bob@good.test")
    harness.wait_for("the next hop is paused", lambda: destinations(gateway)[hop]["pause"])
    mids = [send(gateway, "carol@good.test"), send(gateway, "dave@good.test"), send(gateway, "erin@fine.test")]
    queue(gateway, "hold", mids[1])

    found = destinations(gateway)
    assert list(found) == sorted([hop, other])
    one, two = found[hop], found[other]
    assert (one["queued"], one["deferred"], one["active"], one["held"], one["suspended"]) == (1, 1, 0, 1, False)
    assert one["pause"]["reason"] == reason and one["pause"]["since"] < one["pause"]["until"]
    assert (one["connections"], one["allowed_connections"], one["rate_per_minute"]) == (0, 1, 600)
    assert (two["queued"], two["suspended"], two["pause"]) == (1, True, None)
    line = next(line for line in queue(gateway, "destinations").stdout.splitlines() if line.startswith(hop))
    assert "paused since 20" in line and line.endswith(reason) and "at most 600 mails a minute" in line

    # A mail that never was tried says what it waits for; one that waits for its own next try does not.
    mails = listed(gateway)
    pause = mails[mids[0]]["recipients"][0]["pause"]
    assert pause["reason"] == reason and mails[mids[0]]["last_reply"] is None and mails[mids[0]]["next_try"] == pause["until"]
    assert all(abs(moment(pause[key]) - moment(one["pause"][key])) < 1 for key in ("since", "until"))
    assert [mails[mid]["recipients"][0]["pause"] for mid in (first, mids[1], mids[2])] == [None] * 3
    assert f"{hop} is paused since" in queue(gateway, "list", mids[0]).stdout
    assert f"{hop} is paused since" in queue(gateway, "show", mids[0]).stdout and reason in queue(gateway, "show", mids[0]).stdout
    status = gateway.status()["queue"]
    assert [(d["destination"], d["pause"]["reason"]) for d in status["paused"]] == [(hop, reason)]
    assert f"paused {hop} since" in gateway.command("status").stdout

    for arguments, want in ((["--paused"], {hop}), (["--state", "suspended"], {other}), (["--state", "held"], {hop}),
            (["--destination", other], {other}), (["--limit", 1], {min(hop, other)}), (["--state", "active"], set())):
        assert set(destinations(gateway, *arguments)) == want, arguments
    assert "no destination" in queue(gateway, "destinations", "--destination", "none.test").stderr


def test_destinations_refuse_a_state_that_none_of_them_has(waiting):
    for state in ("expiring", "corrupt", "paused", "any"):
        said = queue(waiting, "destinations", "--state", state, status=2).stderr
        assert f"--state takes queued, deferred, active, held or suspended, not {state}\n" in said
    for state in ("queued", "deferred", "active", "held", "suspended"):
        queue(waiting, "destinations", "--state", state)
    assert "expiring or corrupt, not paused" in queue(waiting, "list", "--state", "paused", status=2).stderr
    assert queue(waiting, "list", "--state", "expiring").returncode == 0


def test_a_pause_ends_when_the_server_answers(make_gateway, make_peer):
    peer = make_peer(greeting=["421 4.3.2 not now", "220 mx.good.test ESMTP"])
    gateway = make_gateway(next_hop=peer.address, delivery=WAITS)
    mid = send(gateway, "bob@good.test")
    harness.wait_for("it is paused", lambda: peer.address in destinations(gateway, "--paused"))
    assert "421 4.3.2 not now" in destinations(gateway)[peer.address]["pause"]["reason"]
    send(gateway, "carol@good.test")
    queue(gateway, "hold", mid)
    queue(gateway, "flush", "--domain", "good.test")
    gateway.tracked("delivered", recipient="carol@good.test")
    found = destinations(gateway)
    assert (found[peer.address]["pause"], found[peer.address]["held"]) == (None, 1)


def test_orders_say_what_they_changed_and_what_they_left(waiting):
    one, two, three = waiting.mids
    done = queue(waiting, "release", two)
    assert done.stdout == "release: 0 mails, 0 recipients\nleft: 1 recipient, not held\n"
    assert queue(waiting, "hold", two).stdout == "hold: 1 mail, 1 recipient\n"
    done = json.loads(queue(waiting, "hold", "--all", "--json").stdout)
    assert (done["matched"], done["mails"], done["recipients"], done["left"]) == (3, 2, 3, {"held_already": 1})
    assert "left: 4 recipients, held; see queue release" in queue(waiting, "flush", "--all").stdout
    for mail in (listed(waiting)[one], json.loads(queue(waiting, "show", one, "--json").stdout)):
        assert [r["next_try"] for r in mail.get("queue", mail["recipients"])] == [None, None]
    assert "no next try" in queue(waiting, "list", one).stdout and "no next try" in queue(waiting, "show", one).stdout
    status = waiting.status()["queue"]
    assert (status["queued"], status["deferred"], status["held"], status["waiting_suspended"]) == (0, 0, 4, 0)


def test_suspend_and_resume_say_what_they_changed(waiting):
    hop = waiting.hop
    assert queue(waiting, "suspend", hop).stdout == f"{hop} is suspended\n"
    assert queue(waiting, "suspend", hop).stdout == f"{hop} was suspended already\n"
    status = waiting.status()["queue"]
    assert (status["queued"], status["deferred"], status["waiting_suspended"]) == (0, 0, 4)
    assert "0 queued, 0 deferred, 0 active, 0 held, 4 suspended" in waiting.command("status").stdout
    assert queue(waiting, "resume", hop).stdout == f"{hop} is resumed\n"
    assert queue(waiting, "resume", hop).stdout == f"{hop} was not suspended\n"
    assert json.loads(queue(waiting, "resume", hop, "--json").stdout) == {"destination": hop, "suspended": False, "changed": False,
        "known": True}
    assert "no queued mail has a next hop called nosuch.test" in queue(waiting, "suspend", "nosuch.test").stderr
    assert json.loads(queue(waiting, "resume", "nosuch.test", "--json").stdout)["changed"] is True
    log = waiting.stderr()
    assert log.count(f"destination_suspended destination={hop}") == 1 and log.count(f"destination_resumed destination={hop}") == 1


def test_flush_tries_a_destination_that_is_parked(make_gateway, make_peer):
    peer = make_peer(greeting=["421 4.3.2 not now", "220 mx.good.test ESMTP"])
    gateway = make_gateway(next_hop=peer.address, delivery=WAITS)
    mid = send(gateway, "bob@good.test")
    wait_state(gateway, mid, "deferred")
    assert "next try in" in queue(gateway, "list").stdout
    queue(gateway, "flush", "--all")
    gateway.tracked("delivered", mid=mid)


@pytest.mark.parametrize("arguments, words", [
    ([], "usage"), (["nonsense"], "unknown verb"), (["hold"], "--all"), (["hold", "--all", "--mid", "1"], "contradict"),
    (["list", "--state", "odd"], "--state takes"), (["list", "--older", "soon"], "--older takes"), (["list", "--limit", "0"], "--limit"),
    (["list", "--mid", "x"], "number"), (["show"], "missing"), (["suspend"], "missing"), (["reroute", "--all"], "--to"),
    (["list", "--content"], "unknown argument"), (["suspend", "x", "--yes"], "unknown argument"),
    (["delete", "--mid", "8", "--mid", "11", "--yes"], "once, not twice: --mid"), (["list", "--sender", "a@a", "--sender", "b@b"], "once, not twice"),
    (["delete", "6", "7", "--yes"], "not also 7"), (["list", "--mid", "6", "7"], "not also 7"), (["hold", "--all", "6"], "contradict"),
    (["suspend", "x", "y"], "not also y"), (["destinations", "x", "--destination", "y"], "not also x"),
])
def test_wrong_usage_is_explained(waiting_file, arguments, words):
    done = harness.postern("-c", waiting_file, "queue", *arguments)
    assert done.returncode == 2 and words in done.stderr, done.stderr


@pytest.fixture
def waiting_file(tmp_path):
    (tmp_path / "postern.yaml").write_text(harness.to_yaml(harness.settings()) + "\n")
    return tmp_path / "postern.yaml"


def test_help_lists_every_verb_and_filter():
    done = harness.postern("queue", "--help")
    assert done.returncode == 0
    for word in ("list", "show", "flush", "hold", "release", "delete", "expire", "reroute", "suspend", "resume", "destinations", "--mid", "--sender",
        "--recipient", "--domain", "--destination", "--state", "--older", "--limit"):
        assert word in done.stdout


# Many mails

MANY = 100_000
MEBIBYTE = 1 << 20


def fill(gateway, count):
    """So many mails straight into the store of a stopped gateway, for a destination that is suspended."""
    db = sqlite3.connect(gateway.folder / "state/queue.db", isolation_level=None)
    db.execute("BEGIN")
    db.executemany("INSERT INTO message (mid, received, icid, client, helo, tls, sender, size) VALUES (?, 1, 'i', '192.0.2.1', 'h', '', "
        "'alice@sender.test', 5)", ((mid,) for mid in range(1, count + 1)))
    db.executemany("INSERT INTO recipient (mid, rid, address, domain, state, attempts, due) VALUES (?, 1, ?, 'good.test', 0, 0, 1)",
        ((mid, f"user{mid}@good.test") for mid in range(1, count + 1)))
    db.execute("INSERT INTO suspended VALUES (?, 1, 0)", (gateway.next_hop,))
    db.execute("COMMIT")
    db.close()


def rss(pid):
    with open(f"/proc/{pid}/status") as status:
        return int(re.search(r"VmRSS:\s+(\d+)", status.read()).group(1)) * 1024


def peak_of(gateway, *arguments):
    """(lines, peak memory) of a command whose output nobody keeps."""
    process = subprocess.Popen([str(harness.BINARY), "-c", str(gateway.file), *arguments], stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE, env=harness.environment())
    lines = sum(chunk.count(b"\n") for chunk in iter(lambda: process.stdout.read1(65536), b""))
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    process.stdout.close()
    assert process.returncode == 0
    return lines, usage.ru_maxrss * 1024


def test_a_hundred_thousand_mails_are_listed_in_little_memory_while_mail_is_accepted(make_gateway, monkeypatch):
    # The sanitizer keeps what was freed; it shall not look like ours.
    monkeypatch.setenv("ASAN_OPTIONS", "detect_leaks=1:exitcode=99:quarantine_size_mb=0:thread_local_quarantine_size_kb=0")
    gateway = make_gateway(next_hop="127.0.0.1:9", delivery=WAITS)
    gateway.next_hop = "127.0.0.1:9"
    gateway.stop()
    fill(gateway, MANY)
    gateway.start()
    _, least = peak_of(gateway, "queue", "list", "--limit", "200")
    role = gateway.roles()["queue"]["pid"]
    before = rss(role)

    # While a slow reader holds the list open, mail is accepted.
    process = subprocess.Popen([str(harness.BINARY), "-c", str(gateway.file), "queue", "list"], stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE, env=harness.environment())
    assert process.stdout.readline().startswith(b"number  age")
    assert process.stdout.readline().startswith(b"1  ")
    assert process.poll() is None
    mid = send(gateway, "bob@good.test")
    assert mid == MANY + 1
    assert process.poll() is None
    assert sum(1 for _ in process.stdout) == MANY + 1
    assert process.wait(harness.PATIENCE) == 0
    process.stdout.close()

    lines, peak = peak_of(gateway, "queue", "list", "--json")
    assert lines == MANY + 1
    assert peak - least < 10 * MEBIBYTE, (peak, least)
    assert rss(role) - before < 10 * MEBIBYTE, (before, rss(role))
    done = queue(gateway, "hold", "--all")
    assert f"hold: {MANY + 1} mails" in done.stdout and "so far" in done.stderr
    assert rss(role) - before < 40 * MEBIBYTE, (before, rss(role))
    assert gateway.status()["queue"]["held"] == MANY + 1


# Destinations that do not answer


class Silent:
    """Takes connections and never says a word."""

    def __init__(self):
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.address = f"127.0.0.1:{self.listener.getsockname()[1]}"
        self.taken = []
        self.thread = threading.Thread(target=self._accept, daemon=True)
        self.thread.start()

    def _accept(self):
        while True:
            try:
                self.taken.append(self.listener.accept()[0])
            except OSError:
                return

    def __enter__(self):
        return self

    def __exit__(self, *unused):
        self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()
        for s in self.taken:
            s.close()
        self.thread.join(timeout=10)


def test_a_dead_and_a_silent_destination_delay_nobody(make_gateway, make_peer):
    good = [make_peer() for _ in range(6)]
    names = [f"good{n}.test" for n in range(len(good))]
    with Silent() as silent:
        hops = {"silent.test": silent.address, "dead.test": harness.free_address(), **{n: p.address for n, p in zip(names, good)}}
        gateway = make_gateway(delivery={"retry": ["7d"], "concurrency": 6, "connections": 6}, accepted_domains=list(hops),
            routes=[{"domain": domain, "next_hop": hop} for domain, hop in hops.items()])
        held = [send(gateway, f"user{n}@silent.test") for n in range(8)]
        lost = [send(gateway, f"user{n}@dead.test") for n in range(4)]
        harness.wait_for("the silent server has its connections", lambda: len(silent.taken) == 2)
        mids = [send(gateway, f"user{n}@{name}") for n in range(5) for name in names]
        for mid in mids:
            gateway.tracked("delivered", mid=mid)
        assert len(silent.taken) == 2
        waiting = states(gateway)
        assert set(waiting) == set(held + lost)
        assert sorted(waiting[mid] for mid in held) == ["active"] * 2 + ["queued"] * 6
        gateway.stop()


def test_2_34_failing_handshakes_do_not_throttle_a_destination(make_gateway, make_peer):
    peer = make_peer(starttls="broken")
    gateway = make_gateway(next_hop=peer.address, delivery=WAITS)
    mids = [send(gateway, f"user{n}@good.test") for n in range(8)]
    harness.wait_for(lambda: f"every mail was tried: {states(gateway)}", lambda: list(states(gateway).values()) == ["deferred"] * len(mids))
    assert all(mail["recipients"][0]["attempts"] == 1 for mail in listed(gateway).values())
    assert "TLS" in listed(gateway)[mids[0]]["last_reply"]
