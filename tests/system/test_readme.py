"""The README's first configuration, exactly as it stands: its certificate, its file, its commands (only the ports are ours)."""

import json
import os
import re
import shutil
import subprocess

import pytest

import harness

README = (harness.ROOT / "README.md").read_text()
SECTION = README.split("## A first configuration")[1].split("\n## ")[0]
BLOCKS = re.findall(r"```(\w*)\n(.*?)```", SECTION, re.S)


def block(start):
    """The block that starts so."""
    return next(text for _, text in BLOCKS if text.startswith(start))


@pytest.fixture
def folder():
    folder = harness.make_folder()
    os.chmod(folder, 0o755)
    yield folder
    shutil.rmtree(folder, ignore_errors=True)


def test_the_first_configuration_of_the_readme_carries_mail(folder):
    harness.make_user()
    inbound, sink = harness.free_address(), harness.free_address()

    def ours(text):
        return text.replace("127.0.0.1:2525", inbound).replace("127.0.0.1:2530", sink)

    path = folder / "bin"
    path.mkdir()
    (path / "postern").symlink_to(harness.BINARY)
    env = dict(harness.environment(), PATH=f"{path}:/usr/bin:/bin:/usr/sbin:/sbin")
    started = []

    def shell(command):
        return subprocess.run(["bash", "-c", command], cwd=folder, env=env, stdin=subprocess.DEVNULL, capture_output=True,
            text=True, timeout=60)

    def background(command):
        with open(folder / f"log{len(started)}", "wb") as log:
            started.append(subprocess.Popen(["bash", "-c", "exec " + command], cwd=folder, env=env, stdin=subprocess.DEVNULL,
                stdout=log, stderr=log))

    assert shell(block("openssl")).returncode == 0
    (folder / "postern.yaml").write_text(ours(block("hostname")))
    try:
        for line in ours(block("postern -c postern.yaml check")).strip().split("\n"):
            if line.endswith("&"):
                background(line.rstrip("& "))
            else:
                done = shell(line)
                assert done.returncode == 0, done.stderr
        harness.wait_for("the gateway answers", lambda: shell("postern -c postern.yaml status").returncode == 0)

        sent = 0
        for line in ours(block("printf")).strip().split("\n"):
            if line.startswith("kill"):
                continue
            if "track" in line:
                harness.wait_for("both mails are delivered", lambda: shell(
                    "postern -c postern.yaml track --json").stdout.count('"state":"delivered"') == sent)
            done = shell(line)
            assert done.returncode == 0, f"{line}\n{done.stdout}{done.stderr}"
            sent += line.startswith(("curl", "swaks"))
        assert sent == 2
        records = [json.loads(line) for line in shell("postern -c postern.yaml track --json").stdout.splitlines()]
        assert [r["recipients"][0]["attempts"][0]["tls"]["obtained"] for r in records] == ["encrypted"] * 2
        assert started[1].wait(timeout=60) == 0  # `stop` was the last command
    finally:
        for process in started:
            if process.poll() is None:
                process.terminate()
            process.wait(timeout=60)
