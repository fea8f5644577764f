"""What an operator sees of damaged mail, and how he gets rid of it."""

import contextlib
import json
import sqlite3

import harness
import smtp


def spoil_content(gateway, mid):
    with contextlib.closing(sqlite3.connect(gateway.folder / "state/queue.db")) as db, db:
        assert db.execute("UPDATE content SET bytes = CAST(bytes || 'x' AS BLOB) WHERE mid = ?", (mid,)).rowcount == 1


def lines(gateway, *arguments):
    done = gateway.command("queue", "list", "--json", *arguments)
    assert done.returncode == 0 and done.stderr == "", done.stderr
    return done.stdout.splitlines()


def test_11_28_damaged_mail_is_listed_shown_counted_and_deleted(make_gateway):
    gateway = make_gateway(next_hop=harness.free_address(), delivery={"retry": ["1h"]})
    for n in range(2):
        smtp.submit(gateway.address(), f"s{n}@sender.test", "bob@good.test", harness.message(f"m{n}", "Hello.\r\n"))
    gateway.tracked("deferred", sender="s0@sender.test")  # the other one may wait until the server answers again
    mids = [json.loads(line)["mid"] for line in lines(gateway)]
    gateway.stop()
    spoil_content(gateway, mids[0])
    # Without a gateway nothing else is said than what is asked for.
    done = gateway.command("queue", "show", str(mids[0]), "--content")
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (1, "", 1) and "is damaged" in done.stderr
    done = gateway.command("queue", "show", str(mids[1]), "--content")
    assert (done.returncode, done.stderr) == (0, "") and "Hello." in done.stdout

    gateway.start()
    assert gateway.command("queue", "flush", "--all").returncode == 0
    gateway.tracked("corrupt", mid=mids[0])
    assert len(lines(gateway)) == 1
    (line,) = lines(gateway, "--state", "corrupt")
    assert f'"mid":{mids[0]}' in line and '"state":"corrupt"' in line and '"next_try":null' in line
    assert len(lines(gateway, "--mid", str(mids[0]))) == 1
    status = gateway.json("status")
    assert status["queue"]["corrupt"] == 1
    harness.wait_for("the gauge", lambda: gateway.json("status")["counters"]["queue_corrupt_mails"] == 1)
    shown = gateway.command("queue", "show", str(mids[0]))
    assert "bob@good.test: corrupt" in shown.stdout and shown.returncode == 0
    assert "is damaged" in gateway.command("queue", "show", str(mids[0]), "--content").stderr

    assert "1 mail matches" in gateway.command("queue", "delete", "--state", "corrupt").stderr
    done = gateway.command("queue", "delete", str(mids[0]), "--yes")
    assert (done.returncode, done.stdout) == (0, "delete: 1 mail, 1 recipient\n")
    gateway.tracked("deleted", mid=mids[0])
    assert gateway.json("status")["queue"]["corrupt"] == 0 and lines(gateway, "--state", "corrupt") == []
    gateway.stop()
    told = gateway.stderr().count("mail_corrupt")

    def tries():
        return len(gateway.track(mid=mids[1])[0]["recipients"][0]["attempts"])

    before = tries()
    gateway.start()
    assert gateway.command("queue", "flush", "--all").returncode == 0
    harness.wait_for("the other was tried again", lambda: tries() > before)
    assert gateway.stderr().count("mail_corrupt") == told == 1


def test_a_damaged_track_db_is_said_and_a_restart_mends_it(make_gateway, sink):
    gateway = make_gateway(next_hop=sink.address)
    smtp.submit(gateway.address(), "s@sender.test", "bob@good.test", harness.message("m", "Hello.\r\n"))
    gateway.tracked("delivered", since="1h")
    track = gateway.folder / "state/track.db"
    with contextlib.closing(sqlite3.connect(track)) as db:
        harness.wait_for("the record is moved", lambda: db.execute("SELECT count(*) FROM recipient").fetchone() == (1,))
    gateway.stop()
    with contextlib.closing(sqlite3.connect(track)) as db:  # not a table that a start reads
        (page,) = db.execute("SELECT rootpage FROM sqlite_schema WHERE name = 'recipient'").fetchone()
    with open(track, "r+b") as file:
        file.seek((page - 1) * 8192)
        file.write(b"x" * 512)
    for when in ("offline", "online"):
        done = gateway.command("track")
        assert done.returncode == 1 and "damaged" in done.stderr and "Restart" in done.stderr, (when, done.stderr)
        if when == "offline":
            gateway.start()
    gateway.stop()
    gateway.start()
    assert "tracking_corrupt" in gateway.stderr()
    smtp.submit(gateway.address(), "t@sender.test", "bob@good.test", harness.message("m", "Hello.\r\n"))
    gateway.tracked("delivered", since="1h")
