"""`make run` (tools/demo) in a network of its own, since its ports are fixed."""

import os
import pathlib
import shutil
import signal
import subprocess
import sys

import pytest

import harness

# Runs in a new network namespace: bring loopback up, then become the command.
INSIDE = """
import fcntl, os, socket, struct, sys
with socket.socket() as s:
    fcntl.ioctl(s, 0x8914, struct.pack("16sh14x", b"lo", 1))  # SIOCSIFFLAGS, IFF_UP
os.execv(sys.argv[1], sys.argv[1:])
"""


def can_unshare():
    return os.geteuid() == 0 and harness.run("unshare", "--net", "true").returncode == 0


pytestmark = pytest.mark.skipif(not can_unshare(), reason="needs a network namespace (root)")


class Demo:
    def __init__(self, folder, name):
        self.output = folder / f"{name}.out"
        command = [str(harness.ROOT / "tools/demo"), str(harness.BINARY), str(folder / "demo")]
        with open(self.output, "wb") as out:
            self.process = subprocess.Popen(["unshare", "--net", "/usr/bin/python3", "-c", INSIDE, *command],
                stdin=subprocess.DEVNULL, stdout=out, stderr=out, env=harness.environment())

    def text(self):
        return self.output.read_text()

    def wait(self):
        return self.process.wait(timeout=90)


@pytest.fixture
def start():
    """start(folder, name) -> Demo; one that still runs is ended after the test."""
    made = []

    def make(*arguments):
        made.append(Demo(*arguments))
        return made[-1]

    yield make
    for demo in made:
        if demo.process.poll() is None:
            demo.process.terminate()
            demo.wait()


@pytest.fixture
def folder():
    made = harness.make_folder()
    yield made
    shutil.rmtree(made, ignore_errors=True)


def is_up(demo):
    assert demo.process.poll() is None, demo.text()
    return "Ctrl-C ends it" in demo.text()


def children(pid):
    """Pids of all descendants."""
    found = []
    for task in pathlib.Path(f"/proc/{pid}/task").glob("*/children"):
        for child in task.read_text().split():
            found += [int(child), *children(int(child))]
    return found


def test_demo_shows_a_mail_and_ends_cleanly_twice(start, folder):
    for name in ("first", "second"):
        demo = start(folder, name)
        harness.wait_for(lambda: "the demo is up\n" + demo.text(), lambda: is_up(demo), patience=60)
        for fact in ('"state": "delivered"', "TLS wanted: preferred; obtained: encrypted (TLSv1.3", "SHA-256 ",
                "gw.good.test", "status", "track --since"):
            assert fact in demo.text(), demo.text()
        pids = children(demo.process.pid)
        assert len(pids) >= 5, "a sink, a master and three roles at least"
        demo.process.send_signal(signal.SIGINT)
        assert demo.wait() == 0, demo.text()
        assert not [pid for pid in pids if harness.is_alive(pid)]
        assert (folder / "demo/relay.yaml").read_bytes() == (harness.ROOT / "examples/relay.yaml").read_bytes()
    assert len(list((folder / "demo/mail").iterdir())) == 2


def test_a_gateway_that_was_stopped_ends_the_demo_cleanly(start, folder):
    demo = start(folder, "stopped")
    harness.wait_for(lambda: "the demo is up\n" + demo.text(), lambda: is_up(demo), patience=60)
    done = harness.postern("-c", folder / "demo/relay.yaml", "stop")
    assert done.returncode == 0, done.stderr
    assert demo.wait() == 0, demo.text()
    assert "The gateway was stopped." in demo.text()


def test_busy_port_is_explained(folder):
    blocker = f"{sys.executable} -c 'import socket, time; s = socket.create_server((\"127.0.0.1\", 2525)); time.sleep(60)'"
    waiting = "while ! grep -q ':09DD ' /proc/net/tcp; do :; done"
    command = ["unshare", "--net", "/usr/bin/python3", "-c", INSIDE, "/bin/sh", "-c",
        f"{blocker} & {waiting}; \"$@\"; code=$?; kill $!; exit $code", "sh", str(harness.ROOT / "tools/demo"),
        str(harness.BINARY), str(folder / "demo")]
    done = harness.run(*command, timeout=60)
    assert done.returncode == 1, done.stdout + done.stderr
    assert "Port 2525" in done.stderr and "in use" in done.stderr
    assert "Traceback" not in done.stderr
