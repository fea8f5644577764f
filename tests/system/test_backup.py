"""`postern backup` and `postern restore`: what waits comes back, whatever else happens meanwhile."""

import collections
import json
import shutil
import sqlite3
import threading

import pytest

import harness
import smtp

LARGE = "x" * 70 + "\r\n"


def body(n):
    return harness.message(f"m{n}", LARGE * 4000 if n % 4 == 0 else "Hello.\r\n")  # every fourth lies in a file


def submit(gateway, n):
    smtp.submit(gateway.address(), f"s{n}@sender.test", "bob@good.test", body(n))


def back_up(gateway, folder):
    done = gateway.command("backup", str(folder), "--json", timeout=120)
    assert done.returncode == 0, done.stderr
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    assert lines[-1]["complete"] is True and lines[-1]["damaged"] == 0
    assert {"queue.db", "content", "track.db"} <= {line.get("part") for line in lines}
    return lines[-1]


def restore(gateway, folder):
    done = gateway.command("restore", str(folder), "--json", timeout=120)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


class Load:
    """Mails that come all the time, until stop()."""

    def __init__(self, gateway, first):
        self.gateway, self.sent, self.first = gateway, 0, first
        self.ended = threading.Event()
        self.thread = threading.Thread(target=self.run)
        self.thread.start()

    def run(self):
        while not self.ended.is_set():
            submit(self.gateway, self.first + self.sent)
            self.sent += 1

    def stop(self):
        self.ended.set()
        self.thread.join()


def test_every_mail_that_waited_at_the_backup_is_delivered_from_it(make_gateway, sink):
    gateway = make_gateway(next_hop=harness.free_address(), delivery={"retry": ["100ms"]})
    for n in range(12):
        submit(gateway, n)
    load = Load(gateway, 100)
    try:
        harness.wait_for("mails come", lambda: load.sent >= 3)
        made = back_up(gateway, gateway.folder / "backup")
        harness.wait_for("mails come after it", lambda before=load.sent: load.sent > before)
    finally:
        load.stop()
    assert made["mails"] >= 15 and made["files"] >= 3
    gateway.stop()

    fresh = make_gateway(next_hop=sink.address, start=False)
    back = restore(fresh, gateway.folder / "backup")
    assert (back["mails"], back["files"]) == (made["mails"], made["files"])
    fresh.start()
    sink.wait(made["mails"])
    senders = {message["sender"] for message in sink.messages}
    assert {f"s{n}@sender.test" for n in [*range(12), 100, 101, 102]} <= senders
    for n in range(12):
        fresh.tracked("delivered", sender=f"s{n}@sender.test")
    last = max(record["mid"] for record in fresh.track(since="1h"))
    submit(fresh, 1000)
    assert fresh.tracked("delivered", sender="s1000@sender.test")["mid"] > last + 1000, "no number comes twice"
    assert not list((fresh.folder / "state/content").iterdir())


def test_while_mail_is_delivered_no_content_is_missing(make_gateway, sink):
    """Large mails are delivered, and their files would go, while the backup reads them."""
    gateway = make_gateway(next_hop=harness.free_address())
    for n in range(0, 80, 4):
        submit(gateway, n)
    gateway.tracked("deferred", count=20, since="1h")
    gateway.configure(harness.settings(next_hop=sink.address, delivery={"retry": ["100ms"]}))
    assert gateway.command("reload").returncode == 0
    made = back_up(gateway, gateway.folder / "backup")
    assert len(list((gateway.folder / "backup/content").iterdir())) == made["files"]
    gateway.tracked("delivered", count=20, since="1h")
    harness.wait_for("the files go afterwards", lambda: not list((gateway.folder / "state/content").iterdir()))


def test_load_lists_orders_and_backups_at_once(make_gateway, sink):
    """Every thread of role queue at work; the thread sanitizer runs this test, too (in clear: it does not see what OpenSSL does)."""
    routes = [{"domain": "good.test", "next_hop": sink.address}, {"domain": "later.test", "next_hop": harness.free_address()}]
    gateway = make_gateway(routes=routes, accepted_domains=["good.test", "later.test"], delivery={"retry": ["100ms", "1h"]},
        limits={"rate": 1_000_000}, delivery_tls="none")
    sent = collections.Counter()
    ended = threading.Event()

    def load(kind, recipient):
        while not ended.is_set():
            n = sum(sent.values())  # the content need not be unique
            text = LARGE * (4000 if n % 4 == 0 else 1400)  # in a file; in the row, so that the log grows to a checkpoint
            smtp.submit(gateway.address(), f"{kind}@sender.test", recipient, harness.message(f"m{n}", text), tls=False)
            sent[kind] += 1

    kinds = {"one": "bob@good.test", "two": "bob@good.test", "later": "bob@later.test"}
    threads = [threading.Thread(target=load, args=each) for each in kinds.items()]
    for thread in threads:
        thread.start()
    made = []
    try:
        harness.wait_for("mails of each kind come", lambda: len(sent) == 3)
        while len(made) < 3 or sum(sent.values()) < 150:
            for command in (["queue", "list", "--json"], ["queue", "hold", "--domain", "later.test", "--yes"], ["track", "--json"],
                    ["queue", "release", "--domain", "later.test", "--yes"], ["queue", "flush", "--all"], ["status", "--json"]):
                done = gateway.command(*command)
                assert done.returncode == 0, (command, done.stderr)
            if len(made) < 3:
                made.append(back_up(gateway, gateway.folder / f"backup{len(made)}"))
    finally:
        ended.set()
        for thread in threads:
            thread.join()
    assert made[0]["mails"] <= made[-1]["mails"]
    for kind in ("one", "two"):
        gateway.tracked("delivered", count=sent[kind], sender=f"{kind}@sender.test")
    assert collections.Counter(message["sender"] for message in sink.messages) == {f"{kind}@sender.test": sent[kind] for kind in ("one", "two")}
    assert len(gateway.command("queue", "list", "--json").stdout.splitlines()) == sent["later"]


def test_without_a_gateway_and_with_tracking(make_gateway, sink):
    gateway = make_gateway(next_hop=sink.address)
    submit(gateway, 1)
    before = gateway.tracked("delivered", count=1, since="1h")
    gateway.stop()
    made = back_up(gateway, gateway.folder / "backup")
    assert made["mails"] == 0
    fresh = make_gateway(next_hop=sink.address, start=False)
    restore(fresh, gateway.folder / "backup")
    assert fresh.track(since="1h") == [before]
    fresh.start()
    assert fresh.track(since="1h") == [before]


def spoil_index(state):
    """Damage that costs no mail, where no start has looked yet."""
    with sqlite3.connect(state / "queue.db") as db:
        (page,) = db.execute("SELECT rootpage FROM sqlite_schema WHERE name = 'recipient_live'").fetchone()
    db.close()
    with open(state / "queue.db", "r+b") as file:
        file.seek((page - 1) * 8192)
        file.write(b"x" * 512)


def test_11_28_a_damaged_queue_is_copied_with_a_warning_and_salvaged_after_the_restore(make_gateway, sink):
    gateway = make_gateway(next_hop=harness.free_address())
    for n in range(6):
        submit(gateway, n)
    gateway.stop()
    spoil_index(gateway.folder / "state")
    done = gateway.command("backup", str(gateway.folder / "backup"))
    assert done.returncode == 1 and "complete" not in done.stdout and "not an error" not in done.stderr
    for words in ("queue.db is damaged", "Restart the gateway", "back up again"):
        assert words in done.stderr, done.stderr
    done = gateway.command("backup", str(gateway.folder / "again"), "--json")
    last = json.loads(done.stdout.splitlines()[-1])
    assert done.returncode == 1 and last["complete"] is False and last["track_damage"] is None
    assert last["queue_damage"] == json.loads((gateway.folder / "again/backup.json").read_text())["queue_damage"] != ""
    fresh = make_gateway(next_hop=sink.address, start=False)
    done = fresh.command("restore", str(gateway.folder / "backup"))
    assert done.returncode == 0 and "the next start of the gateway salvages" in done.stderr
    fresh.start()
    sink.wait(6)
    assert "queue_corrupt" in fresh.stderr()
    fresh.stop()
    back_up(fresh, gateway.folder / "sound")


def test_a_restore_asks_the_lock_of_the_state_directory_and_leaves_nothing_behind_when_it_fails(make_gateway, sink):
    gateway = make_gateway(next_hop=harness.free_address())
    submit(gateway, 0)
    back_up(gateway, gateway.folder / "backup")
    gateway.configure(harness.settings(next_hop=sink.address, state_dir="other"))
    for command in (["queue", "list"], ["track"], ["queue", "delete", "--all", "--yes"]):
        refused(gateway.command(*command), "has its queue elsewhere", "other")
    lacking = gateway.folder / "lacking"
    shutil.copytree(gateway.folder / "backup", lacking)
    (lacking / "queue.db").unlink()
    refused(gateway.command("restore", str(lacking)), "nothing was put back")
    assert not (gateway.folder / "other").exists()
    (gateway.folder / "other").mkdir()
    (gateway.folder / "other/lock").write_text("7\n")
    refused(gateway.command("restore", str(lacking)), "nothing was put back")
    assert [(one.name, one.read_text()) for one in (gateway.folder / "other").iterdir()] == [("lock", "7\n")]
    restore(gateway, gateway.folder / "backup")  # although a gateway runs with the same runtime_dir
    gateway.configure(harness.settings(next_hop=sink.address))
    assert len(gateway.command("queue", "list", "--json").stdout.splitlines()) == 1
    gateway.stop()
    gateway.configure(harness.settings(next_hop=sink.address, state_dir="other"))
    gateway.start()
    sink.wait(1)


def test_one_mail_is_taken_out_of_a_backup_beside_the_running_gateway(make_gateway, sink):
    """As docs/operations.md says."""
    gateway = make_gateway(next_hop=harness.free_address())
    submit(gateway, 0)  # in a file
    submit(gateway, 1)
    back_up(gateway, gateway.folder / "backup")
    assert gateway.command("queue", "delete", "--all", "--yes").returncode == 0
    look = gateway.folder / "look.yaml"
    look.write_text(harness.to_yaml(harness.settings(next_hop=sink.address, state_dir="look", runtime_dir="look-run")) + "\n")

    def command(*arguments):
        done = harness.postern("-c", look, *arguments, timeout=60)
        assert done.returncode == 0 and done.stderr == "", done.stderr
        return done.stdout

    command("restore", str(gateway.folder / "backup"))
    mids = [json.loads(line)["mid"] for line in command("queue", "list", "--json").splitlines()]
    assert len(mids) == 2
    for n, mid in enumerate(mids):
        assert f"m{n}" in command("queue", "show", str(mid), "--content")
    assert sink.messages == [] and gateway.command("status").returncode == 0


def test_half_a_restore_is_not_backed_up(make_gateway, sink):
    gateway = make_gateway(next_hop=sink.address)
    gateway.stop()
    (gateway.folder / "state/restore.unfinished").touch()
    refused(gateway.command("backup", str(gateway.folder / "backup")), "restore again")
    (gateway.folder / "state/restore.unfinished").unlink()


def refused(done, *words):
    assert done.returncode == 1, (done.returncode, done.stderr)
    for word in words:
        assert word in done.stderr, done.stderr


def test_refusals_say_what_to_do(make_gateway, sink):
    gateway = make_gateway(next_hop=sink.address)
    full = gateway.folder / "full"
    full.mkdir()
    (full / "something").touch()
    refused(gateway.command("backup", str(full)), str(full), "not empty")
    refused(gateway.command("backup", str(gateway.folder / "no/where")), "No such file or directory")
    back_up(gateway, gateway.folder / "backup")
    refused(gateway.command("backup", str(gateway.folder / "backup")), "not empty")
    refused(gateway.command("restore", str(gateway.folder / "backup")), "stop it first")
    gateway.stop()
    refused(gateway.command("restore", str(gateway.folder / "backup")), "state", "not empty", "move it aside")
    refused(gateway.command("restore", str(gateway.folder / "nowhere")), "nowhere")
    fresh = make_gateway(next_hop=sink.address, start=False)
    (gateway.folder / "backup/backup.json").unlink()
    refused(fresh.command("restore", str(gateway.folder / "backup")), "no complete backup")


@pytest.mark.parametrize("command", ["backup", "restore"])
@pytest.mark.parametrize("arguments", [[], ["--json"], ["x", "y"], ["x", "--no"]])
def test_usage(gateway, command, arguments):
    assert gateway.command(command, *arguments).returncode == 2
