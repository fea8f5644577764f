"""The figures of bench/ are made by programs, too: what they count is counted, and what they were told to keep is kept."""

import json
import os
import pathlib
import re
import signal
import smtplib
import subprocess
import sys
import uuid

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


# Wrong use: said before anything is measured, and nothing is lost


@pytest.mark.parametrize("arguments,word", [
    (["ssl:4096:20:10"], "expected LAYER:SIZE:CONNECTIONS:MAILS, such as tls:4096:20:10, with LAYER plain, tls, tls12, rsa"),
    (["tls:4096:20"], "`tls:4096:20` is no cell"),
    (["tls:4096:0:10"], "CONNECTIONS 1 to 1000"),
    (["tls:1:20:10"], "SIZE 512 to 52428800 bytes"),
    (["--pairs", "0"], "expected a number from 1 on, not `0`"),
    (["--scale", "0"], "expected a number such as 0.5"),
    (["--peers", "sendmail"], "there is no peer `sendmail`: expected postern, postfix,"),
])
def test_wrong_words_are_refused(arguments, word):
    assert word in " ".join(relay(*arguments, code=2).stderr.split())


def test_a_file_that_is_none_is_refused(tmp_path):
    file, document = tmp_path / "runs.jsonl", harness.ROOT / "docs/performance.md"
    before = document.read_bytes()
    assert f"{file}: No such file or directory" in relay("--read", file, "--write", code=1).stderr
    file.write_text("")
    assert f"{file} has no runs: name a file that --resume wrote" in relay("--read", file, "--write", code=1).stderr
    assert "say which file has the runs" in relay("--write", "plain:4096:1:1", code=1).stderr
    assert f"{tmp_path}/none/x: No such file or directory" in relay("--resume", tmp_path / "none/x", "plain:4096:1:1", code=1).stderr
    relay("--pairs", 1, "--scale", "0.01", "--peers", "nothing", "--resume", file, "plain:4096:1:1")
    whole = file.read_text()
    for broken in (whole[:40], '{"cell": "plain:4096:1:1"}\n', whole.replace("plain:", "other:")):
        file.write_text(whole + broken)
        for command in ("--resume", "--read"):
            assert f"{file}:2: this line is no whole run, perhaps it was cut off: remove it" in relay(command, file, "plain:4096:1:1", code=1).stderr
        assert file.read_text() == whole + broken
    assert document.read_bytes() == before


def test_another_program_is_not_measured():
    done = subprocess.run([sys.executable, harness.ROOT / "bench/relay.py", "plain:4096:1:1"], capture_output=True, text=True,
        env=dict(os.environ, POSTERN="/bin/true"), timeout=60)
    assert done.returncode == 1 and "true is no postern: `make build` makes one, and POSTERN names another" in done.stderr


@pytest.mark.parametrize("number,code", [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_a_run_that_is_ended_leaves_no_process(number, code):
    mark = uuid.uuid4().hex
    process = subprocess.Popen([sys.executable, harness.ROOT / "bench/relay.py", "--no-memory", "--peers", "nothing", "plain:4096:20:10"],
        stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, start_new_session=True, env=dict(os.environ, MARK=mark),
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL))  # a background job of a shell ignores it

    def offspring():
        found = []
        for folder in pathlib.Path("/proc").glob("[0-9]*"):
            try:
                if f"MARK={mark}".encode() in (folder / "environ").read_bytes() and int(folder.name) != process.pid:
                    found.append((folder / "comm").read_text().strip())
            except OSError:
                pass  # it has ended
        return found

    harness.wait_for("the sink runs", lambda: "sink" in offspring())
    process.send_signal(number)
    error = process.communicate(timeout=60)[1]
    assert process.returncode == code
    assert "Traceback" not in error
    harness.wait_for(lambda: f"all have ended {offspring()}", lambda: not offspring())
