"""The figures of bench/ are made by programs, too: what they count is counted, and what they were told to keep is kept."""

import json
import re
import smtplib
import subprocess
import sys

import pytest

import harness

sys.path.insert(0, str(harness.ROOT / "bench"))

from tools import Counted, Group, TOOLS  # noqa: E402 (its place is known from here on)

MAILS, LINES = 4, 50


@pytest.fixture(scope="session", autouse=True)
def load_and_sink():
    harness.run("make", "-C", harness.ROOT, "build/bench/load", "build/bench/sink", check=True)


@pytest.fixture
def counting_sink():
    """(the sink of the bench, its port)"""
    port = int(harness.free_address().rsplit(":", 1)[1])
    sink = Counted(TOOLS / "sink", port, 1)
    harness.wait_for("the sink listens", sink.look)
    yield sink, port
    sink.stop()


@pytest.fixture
def mails(make_peer):
    """Contents as load makes them."""
    peer = make_peer(starttls="absent")
    Counted(TOOLS / "load", *peer.address.split(":"), 1, 0, MAILS, 80 * LINES, 3).wait(60)
    assert len(peer.messages) == MAILS
    return [m.content for m in peer.messages]


def hand_in(port, contents):
    with smtplib.SMTP("127.1.0.0", port) as client:
        for content in contents:
            client.sendmail("a@bench.test", "u@d1.bench.test", content)


def counted(sink):
    """(mails, different ones, damaged ones)"""
    sink.stop()
    mails, unique, _, damaged = sink.counts()[-1][1]
    return mails, unique, damaged


def changed(content, change):
    """The content with other lines in its body; its field with their number stays."""
    head, _, body = content.partition(b"\r\n\r\n")
    return b"\r\n".join([head, b"", *change(body.splitlines()), b""])


def test_whole_mail_is_neither_repeated_nor_damaged(counting_sink, mails):
    sink, port = counting_sink
    hand_in(port, mails)
    assert counted(sink) == (MAILS, MAILS, 0)


@pytest.mark.parametrize("change", [
    pytest.param(lambda body: body[:-1], id="the last line is missing"),
    pytest.param(lambda body: [], id="no body"),
    pytest.param(lambda body: body[:20] + body[21:], id="a line is missing"),
    pytest.param(lambda body: body[:20] + body[19:], id="a line is there twice"),
    pytest.param(lambda body: body[:20] + [body[21], body[20]] + body[22:], id="two lines are in the place of each other"),
    pytest.param(lambda body: [body[0].upper()] + body[1:], id="letters of the first line"),
    pytest.param(lambda body: body[:-1] + [body[-1][:-1] + b"!"], id="the last letter"),
    pytest.param(lambda body: body[:-1] + [body[-1] + b" "], id="a space at the end"),
])
def test_a_damaged_mail_is_counted(counting_sink, mails, change):
    sink, port = counting_sink
    hand_in(port, [mails[0], changed(mails[1], change), mails[2]])
    assert counted(sink) == (3, 3, 1)


def test_the_body_of_another_mail_is_damage_and_a_mail_that_comes_again_is_repeated(counting_sink, mails):
    sink, port = counting_sink
    other = mails[1].partition(b"\r\n\r\n")[2].splitlines()
    hand_in(port, [mails[0], mails[0], mails[1], changed(mails[2], lambda _: other)])
    assert counted(sink) == (4, 3, 1)


def relay(*arguments, code=0):
    done = subprocess.run([sys.executable, harness.ROOT / "bench/relay.py", "--no-memory", *map(str, arguments)], capture_output=True, text=True,
        stdin=subprocess.DEVNULL, timeout=300)
    assert done.returncode == code, done.stdout + done.stderr
    return done


def runs(done):
    return len(re.findall(r"^plain:4096:2:2 nothing: ", done.stdout, re.M))


def test_relay_in_pieces_keeps_each_run_and_makes_none_twice(tmp_path):
    file, cell = tmp_path / "runs.jsonl", ["--scale", "0.02", "--peers", "nothing", "plain:4096:2:2"]
    assert runs(relay("--pairs", 1, "--resume", file, *cell)) == 1
    done = relay("--pairs", 3, "--resume", file, *cell)
    assert runs(done) == 2 and "60 mails a run, 3 runs each" in done.stdout
    assert runs(relay("--pairs", 3, "--resume", file, *cell)) == 0
    assert "3 runs each" in relay("--read", file).stdout
    lines = [json.loads(line) for line in file.read_text().splitlines()]
    assert [(line["cell"], line["peer"], line["turn"]) for line in lines] == [("plain:4096:2:2", "nothing", turn) for turn in range(3)]
    assert all(line["figures"]["lost"] == line["figures"]["damaged"] == 0 for line in lines)
    lines[0]["machine"] = "another"
    file.write_text("".join(json.dumps(line) + "\n" for line in lines))
    done = relay("--pairs", 3, "--resume", file, *cell)
    assert runs(done) == 1 and "1 runs of another disk, machine or version" in done.stdout
    assert done.stdout.count("**clear, 4 KiB, 2 connections, 2 a session**") == 2  # never in one table


def may_make_groups():
    try:
        Group("test").remove()
    except OSError:
        return False
    return True


@pytest.mark.skipif(not may_make_groups(), reason="processor time is counted by a cgroup, which may not be made here")
def test_relay_beside_nothing_counts_all_figures(tmp_path):
    file = tmp_path / "runs.jsonl"
    relay("--pairs", 1, "--scale", "0.02", "--peers", "postern,nothing", "--resume", file, "tls:4096:2:2")
    ours = [line["figures"] for line in map(json.loads, file.read_text().splitlines()) if line["peer"] == "postern"][0]
    assert {"accepted", "delivered", "cpu", "accept_p50", "accept_p99", "relay_p50", "relay_p99", "session_p50", "commits", "group"} < set(ours)
    assert ours["cpu"] > 0 and ours["commits"] > 0 and (ours["lost"], ours["repeated"], ours["damaged"]) == (0, 0, 0)
