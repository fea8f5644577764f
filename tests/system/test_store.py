"""What lies in the state directory: damage, older versions, and tracking that moves from queue.db to track.db."""

import os
import re
import shutil
import signal
import sqlite3

import harness
import smtp

SCHEMA_2 = """
PRAGMA page_size = 8192; PRAGMA auto_vacuum = INCREMENTAL; PRAGMA journal_mode = WAL;
CREATE TABLE message (mid INTEGER PRIMARY KEY AUTOINCREMENT, received INTEGER NOT NULL, icid TEXT NOT NULL,
 client TEXT NOT NULL, helo TEXT NOT NULL, tls TEXT NOT NULL, sender TEXT NOT NULL, size INTEGER NOT NULL, file TEXT,
 digest BLOB, eight_bit INTEGER NOT NULL DEFAULT 0, utf8 INTEGER NOT NULL DEFAULT 0, ret INTEGER NOT NULL DEFAULT 0,
 envid TEXT NOT NULL DEFAULT '') STRICT;
CREATE TABLE content (mid INTEGER PRIMARY KEY, bytes BLOB NOT NULL) STRICT;
CREATE TABLE recipient (mid INTEGER NOT NULL, rid INTEGER NOT NULL, address TEXT NOT NULL, domain TEXT NOT NULL,
 state INTEGER NOT NULL, attempts INTEGER NOT NULL, due INTEGER NOT NULL, notify INTEGER NOT NULL DEFAULT 0,
 orcpt TEXT NOT NULL DEFAULT '', PRIMARY KEY (mid, rid)) STRICT, WITHOUT ROWID;
CREATE INDEX recipient_live ON recipient (mid, domain, due) WHERE state = 0;
CREATE TABLE attempt (mid INTEGER NOT NULL, rid INTEGER NOT NULL, number INTEGER NOT NULL, time INTEGER NOT NULL,
 dcid TEXT NOT NULL, host TEXT NOT NULL, address TEXT NOT NULL, state INTEGER NOT NULL, reply TEXT NOT NULL,
 tls TEXT NOT NULL, PRIMARY KEY (mid, rid, number)) STRICT, WITHOUT ROWID;
CREATE TABLE refusal (id INTEGER PRIMARY KEY, time INTEGER NOT NULL, icid TEXT NOT NULL, client TEXT NOT NULL,
 helo TEXT NOT NULL, tls TEXT NOT NULL, sender TEXT NOT NULL, recipient TEXT NOT NULL, reply TEXT NOT NULL) STRICT;
PRAGMA application_id = 0x506f7374; PRAGMA user_version = 2;
"""


def database(gateway, name="queue.db"):
    return sqlite3.connect(gateway.folder / "state" / name, timeout=30)


def number(gateway, sql, name="queue.db"):
    db = database(gateway, name)
    try:
        return db.execute(sql).fetchone()[0]
    finally:
        db.close()


def own(gateway):
    """The state directory belongs to the user of `queue`, as when postern made it."""
    if os.geteuid() == 0:
        state = gateway.folder / "state"
        for path in [state, *state.iterdir()]:
            shutil.chown(path, harness.USER, harness.USER)


def moved(gateway):
    harness.wait_for("all that is finished is in track.db",
        lambda: number(gateway, "SELECT (SELECT count(*) FROM outbox) + (SELECT count(*) FROM refusal)") == 0)


def test_11_28_a_damaged_mail_is_reported_and_the_others_are_delivered(make_gateway, sink):
    gateway = make_gateway()
    for n in range(3):
        smtp.submit(gateway.address(), f"s{n}@sender.test", "bob@good.test", harness.message(f"m{n}"))
    gateway.tracked("deferred", count=3, since="1h")
    gateway.stop()
    db = database(gateway)
    with db:
        assert db.execute("UPDATE content SET bytes = CAST('X' || substr(bytes, 2) AS BLOB) WHERE mid ="
            " (SELECT mid FROM message WHERE sender = 's1@sender.test')").rowcount == 1
    db.close()
    gateway.configure(harness.settings(next_hop=sink.address))
    gateway.start()
    gateway.tracked("delivered", sender="s0@sender.test")
    gateway.tracked("delivered", sender="s2@sender.test")
    record = gateway.tracked("corrupt", sender="s1@sender.test")
    assert f"mail_corrupt mid={record['mid']} part=content recipients=1" in gateway.stderr()
    assert len(sink.messages) == 2


def flip(path, token):
    """One wrong bit in each place of a file where `token` stands; how often."""
    data, found = bytearray(path.read_bytes()), 0
    while (at := data.find(token)) >= 0:
        data[at] ^= 1
        found += 1
    with open(path, "r+b") as file:  # its owner stays
        file.write(data)
    return found


def damage_queue(gateway, token):
    """What a bad disk does: the beginning of queue.db and of its log is gone, and one mail is altered."""
    state = gateway.folder / "state"
    files = [path for path in (state / "queue.db", state / "queue.db-wal") if path.exists() and path.stat().st_size > 0]
    assert sum(flip(path, token) for path in files) > 0
    for path in files:
        with open(path, "r+b") as file:
            file.write(bytes(20))


def test_11_28_a_damaged_queue_db_is_set_aside_and_what_is_whole_is_delivered(make_gateway, sink):
    gateway = make_gateway()
    bodies = {f"s{n}@sender.test": harness.message(f"m{n}", body=f"body-{n}-of-many " * 50 ** (1 + n % 3) + "\r\n") for n in range(6)}
    for sender, body in bodies.items():
        smtp.submit(gateway.address(), sender, ["bob@good.test", "eve@good.test"], body)
    gateway.tracked("deferred", count=6, since="1h")
    for number_of_run, end in enumerate((gateway.stop, gateway.kill_all)):
        end()
        damage_queue(gateway, b"body-3-of-many" if number_of_run == 0 else b"s4@sender.test")
        if number_of_run == 1:
            gateway.configure(harness.settings(next_hop=sink.address))
        gateway.start()
    for n in (0, 1, 2, 5):
        gateway.tracked("delivered", sender=f"s{n}@sender.test")
    assert gateway.tracked("corrupt", sender="s3@sender.test")["mid"] == 4
    gateway.tracked("corrupt", mid=5)
    got = sorted(harness.split_received(sink.content(message))[1] for message in sink.wait(4))
    assert got == sorted(bodies[f"s{n}@sender.test"] for n in (0, 1, 2, 5))
    said = gateway.stderr()
    assert said.count(" error queue queue_corrupt ") == 2
    assert "mail_damaged mid=4 sender=s3@sender.test part=content recipients=2 lost=0" in said
    assert "mail_damaged mid=5 " in said
    kept = re.findall(r"kept=(\S+)", said)
    assert all((gateway.folder / "state" / name).stat().st_size > 0 for name in kept) and len(set(kept)) == 2
    smtp.submit(gateway.address(), "new@sender.test", "bob@good.test", harness.message("new"))
    assert gateway.tracked("delivered", sender="new@sender.test")["mid"] > 1000000


def test_11_30_queued_mail_of_an_older_version_is_copied_and_delivered(make_gateway, sink):
    gateway = make_gateway(next_hop=sink.address, start=False)
    (gateway.folder / "state").mkdir(mode=0o700)
    body = harness.message("from an older version")
    db = database(gateway)
    db.executescript(SCHEMA_2)
    with db:
        db.execute("INSERT INTO message (mid, received, icid, client, helo, tls, sender, size) VALUES"
            " (17, unixepoch() * 1000, '1-1', '192.0.2.1', 'old', '{}', 'old@sender.test', ?)", (len(body),))
        db.execute("INSERT INTO content VALUES (17, ?)", (body.encode() if isinstance(body, str) else body,))
        db.execute("INSERT INTO recipient (mid, rid, address, domain, state, attempts, due)"
            " VALUES (17, 1, 'bob@good.test', 'good.test', 0, 0, 0)")
    db.close()
    own(gateway)
    gateway.start()
    sink.wait()
    gateway.tracked("delivered", mid=17)
    assert "schema_upgraded from=2 to=3" in gateway.stderr()
    assert number(gateway, "PRAGMA user_version", "queue.db.schema2") == 2
    assert number(gateway, "SELECT count(*) FROM recipient WHERE state = 0", "queue.db.schema2") == 1


def test_finished_mail_moves_and_is_found_with_and_without_a_gateway(make_gateway, sink):
    gateway = make_gateway(next_hop=sink.address)
    for n in range(5):
        smtp.submit(gateway.address(), f"s{n}@sender.test", "bob@good.test", harness.message(f"m{n}"))
    before = gateway.tracked("delivered", count=5, since="1h")
    moved(gateway)
    assert number(gateway, "SELECT count(*) FROM message") == 0
    assert number(gateway, "SELECT count(*) FROM message", "track.db") == 5
    assert gateway.track(since="1h") == before
    gateway.stop()
    assert gateway.track(since="1h") == before
    gateway.start()
    mids = {record["mid"] for record in before}
    smtp.submit(gateway.address(), "next@sender.test", "bob@good.test", harness.message())
    assert gateway.tracked("delivered", sender="next@sender.test")["mid"] > max(mids)


def test_11_27_killed_while_it_moves_nothing_is_lost_or_twice(make_gateway, sink):
    gateway = make_gateway(next_hop=sink.address)
    for batch in range(4):
        with smtp.Client(gateway.address()) as client:
            client.ehlo()
            for n in range(25):
                client.mail(f"s{batch}-{n}@sender.test", "bob@good.test", harness.message())
            client.quit()
        before = gateway.roles()["queue"]
        os.kill(before["pid"], signal.SIGKILL)
        harness.wait_for("queue is started again", lambda: gateway.roles()["queue"]["up"]
            and gateway.roles()["queue"]["pid"] != before["pid"])
    records = gateway.tracked("delivered", count=100, since="1h")
    assert len({record["mid"] for record in records}) == 100
    moved(gateway)
    assert gateway.track(since="1h") == records


def test_retention(make_gateway, sink):
    gateway = make_gateway(next_hop=sink.address, tracking={"keep": "1ms"})
    smtp.submit(gateway.address(), "s@sender.test", "bob@good.test", harness.message())
    sink.wait()
    moved(gateway)
    gateway.stop()
    gateway.start()  # it looks at each start, and each minute
    harness.wait_for("it is forgotten", lambda: gateway.track(since="1h") == [])
