"""Storage that fails while mails flow: no space, no quota, no inodes, no descriptors, errors in writing and in syncing. The client hears the right
4xx and never a 250 for what is not kept, nothing that was promised is lost, the log names cause and cure, and all goes on by itself
when the fault is gone. The faults are made by a shim under the running gateway, and by a file system that is really too small."""

import collections
import contextlib
import os
import pathlib
import pwd
import shutil
import sqlite3
import subprocess
import tempfile
import threading

import pytest

import harness
import smtp
from faults import Faults
from test_conformance_resources import restrict, open_files

as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root may mount file systems and change the limits of other processes")

SMALL, LARGE = 1000, 300_000  # in the row, in a file
SIZES = pytest.mark.parametrize("size", [SMALL, LARGE], ids=["in the row", "in a file"])
NO_SPACE = ("452", "4.3.1")
LATER = ("451", "4.3.0")

# name: (role, call, path, error, times), what the client hears, event and words of the log
COMMIT = {
    "row write ENOSPC": (SMALL, ("queue", "write", "queue.db", "ENOSPC"), NO_SPACE, "storage_failed part=queue.db", "No space left", "free space"),
    "row write EDQUOT": (SMALL, ("queue", "write", "queue.db", "EDQUOT"), NO_SPACE, "storage_failed part=queue.db", "quota exceeded", "raise the disk quota"),
    "row write EIO": (SMALL, ("queue", "write", "queue.db", "EIO"), LATER, "store_failed", "Input/output error", "check the disk"),
    "row sync EIO": (SMALL, ("queue", "sync", "queue.db", "EIO"), LATER, "store_failed", "Input/output error", "check the disk"),
    "row sync EIO once": (SMALL, ("queue", "sync", "queue.db", "EIO", 1), LATER, "store_failed", "Input/output error", "check the disk"),
    "row sync ENOSPC once": (SMALL, ("queue", "sync", "queue.db", "ENOSPC", 1), LATER, "store_failed", "No space left", "free space"),
    "file write ENOSPC": (LARGE, ("front", "write", "content/", "ENOSPC"), NO_SPACE, "mail_not_accepted", "No space left", "free space"),
    "file write EDQUOT": (LARGE, ("front", "write", "content/", "EDQUOT"), NO_SPACE, "mail_not_accepted", "quota exceeded", "raise the disk quota"),
    "file write EIO": (LARGE, ("front", "write", "content/", "EIO"), LATER, "mail_not_accepted", "Input/output error", "check the disk"),
    "file sync EIO": (LARGE, ("queue", "sync", "content/#", "EIO"), LATER, "storage_failed part=content", "Input/output error", "check the disk"),
    "file sync EIO once": (LARGE, ("queue", "sync", "content/#", "EIO", 1), LATER, "storage_failed part=content", "Input/output error", "check the disk"),
    "file sync ENOSPC once": (LARGE, ("queue", "sync", "content/#", "ENOSPC", 1), NO_SPACE, "storage_failed part=content", "No space left", "free space"),
    "name sync EIO once": (LARGE, ("queue", "sync", "state/content", "EIO", 1), LATER, "storage_failed part=content", "Input/output error", "check the disk"),
    "file open EMFILE": (LARGE, ("queue", "open", "content/.", "EMFILE"), LATER, "storage_failed part=content", "Too many open files", "raise the limit of open files"),
    "file open ENOSPC": (LARGE, ("queue", "open", "content/.", "ENOSPC"), NO_SPACE, "storage_failed part=content", "No space left", "free space or inodes"),
    "file open EDQUOT": (LARGE, ("queue", "open", "content/.", "EDQUOT"), NO_SPACE, "storage_failed part=content", "quota exceeded", "raise the disk quota"),
    "file link ENOSPC": (LARGE, ("queue", "link", "content/", "ENOSPC"), NO_SPACE, "storage_failed part=content", "No space left", "free space"),
    "file link EROFS": (LARGE, ("queue", "link", "content/", "EROFS"), LATER, "storage_failed part=content", "Read-only", "mount the file system"),
    "row of a file ENOSPC": (LARGE, ("queue", "write", "queue.db", "ENOSPC"), NO_SPACE, "storage_failed part=queue.db", "No space left", "free space"),
    "row of a file EIO": (LARGE, ("queue", "write", "queue.db", "EIO"), LATER, "store_failed", "Input/output error", "check the disk"),
}


def content(size, subject="a test"):
    return harness.message(subject, body=("x" * 78 + "\r\n") * (size // 80))


@pytest.fixture
def faulty(make_gateway):
    """faulty(next_hop=..., ...) -> (a running gateway, its Faults)."""
    def make(**options):
        options.setdefault("delivery", {"retry": ["200ms"]})
        options.setdefault("limits", {"min_free_space": 0, "min_free_inodes": 0})
        gateway = make_gateway(start=False, **options)
        faults = Faults(gateway)
        return gateway.start(), faults

    return make


def try_mail(gateway, sender, size, recipient="bob@good.test"):
    """(code, enhanced status) of the last reply, whichever command it answers; None when the connection ended."""
    try:
        with smtp.Client(gateway.address()) as c:
            c.ehlo()
            for command in (f"MAIL FROM:<{sender}>", f"RCPT TO:<{recipient}>"):
                reply = c.do(command)
                if reply.code >= 400:
                    return str(reply.code), reply.status
            reply = c.data(content(size))
            return str(reply.code), reply.status
    except (smtp.Closed, OSError) as e:
        assert not isinstance(e, TimeoutError), "nobody answers"
        return None


def flows(gateway, sender, size):
    """Wait until this mail is taken."""
    harness.wait_for(lambda: f"{sender} is taken\n{gateway.stderr()[-3000:]}", lambda: (try_mail(gateway, sender, size) or "")[:1] == ("250",), 60)


def files_left(gateway):
    return sorted(path.name for path in (gateway.folder / "state/content").iterdir())


def heard(gateway, event, *words):
    """The lines of the log with this event and all of these words."""
    return [line for line in gateway.stderr().splitlines() if f" {event}" in line and all(word in line for word in words)]


@pytest.mark.parametrize("name", COMMIT)
def test_11_17_11_18_no_promise_while_the_storage_fails(faulty, make_sink, name):
    size, rule, reply, event, cause, cure = COMMIT[name]
    sink = make_sink()
    gateway, faults = faulty(next_hop=sink.address)
    flows(gateway, "before@sender.test", size)
    gateway.tracked("delivered", sender="before@sender.test")
    harness.wait_for("its file is gone", lambda: not files_left(gateway))

    faults.fail(*rule)
    tries = 1 if len(rule) == 5 else 3
    for n in range(tries):
        got = try_mail(gateway, f"during{n}@sender.test", size)
        if n == 0:
            assert got == reply, (got, gateway.stderr()[-3000:])
        assert got is None or got[0] in ("421", "451", "452"), got
    assert faults.hits(), "the fault was there"
    harness.wait_for(lambda: f"the log says why, and what to do: {event} {cause} {cure}\n{gateway.stderr()[-3000:]}",
        lambda: heard(gateway, event, cause, cure))
    assert len(heard(gateway, event)) <= tries + 3, "and not again and again"

    faults.clear()
    flows(gateway, "after@sender.test", size)
    gateway.tracked("delivered", sender="after@sender.test")
    harness.wait_for("nothing is left behind", lambda: not files_left(gateway))
    senders = collections.Counter(line["sender"] for line in sink.messages)
    in_doubt = "sync" in name and size == SMALL  # after a failed sync of the database a mail may be there although it heard 451
    allowed = {"before@sender.test", "after@sender.test"} | ({f"during{n}@sender.test" for n in range(tries)} if in_doubt else set())
    assert senders["before@sender.test"] == senders["after@sender.test"] == 1
    assert set(senders) <= allowed and max(senders.values()) == 1, senders
    if event.startswith("storage_failed"):
        assert heard(gateway, "storage_works")
    if event != "store_failed":
        assert "role_died" not in gateway.stderr()


OUTCOME = {
    "write ENOSPC": ("queue", "write", "queue.db", "ENOSPC"),
    "write EDQUOT": ("queue", "write", "queue.db", "EDQUOT"),
    "write EIO": ("queue", "write", "queue.db", "EIO"),
    "sync EIO": ("queue", "sync", "queue.db", "EIO"),
    "sync EIO once": ("queue", "sync", "queue.db", "EIO", 1),
    "sync ENOSPC once": ("queue", "sync", "queue.db", "ENOSPC", 1),
}


@SIZES
@pytest.mark.parametrize("answer", ["250 2.0.0 taken", "550 5.7.1 no"], ids=["delivered", "bounced"])
@pytest.mark.parametrize("name", OUTCOME)
def test_11_17_11_26_an_outcome_waits_for_the_storage(faulty, make_peer, name, answer, size):
    """deliver keeps what became of a mail until it is recorded: one delivery, or one report, however long that takes."""
    gate = threading.Event()
    peer = make_peer(starttls="absent", dot=[answer, "250 2.0.0 taken"])
    peer.pause = lambda: peer.dots() and gate.wait(60)
    peer.dots = lambda: any("DATA" in session.verbs() for session in peer.sessions)
    gateway, faults = faulty(next_hop=peer.address, routes=[{"domain": "default", "next_hop": peer.address}], delivery_tls="none")
    flows(gateway, "one@sender.test", size)
    harness.wait_for("the mail is at the peer", peer.dots)

    faults.fail(*OUTCOME[name])
    gate.set()
    harness.wait_for("recording it fails", faults.hits)
    harness.wait_for(lambda: "deliver says so\n" + gateway.stderr(), lambda: heard(gateway, "outcome_not_recorded mid=1"))
    what = heard(gateway, "storage_failed part=queue.db", "cure=") or heard(gateway, "store_failed", "cure=")
    assert what, gateway.stderr()

    faults.clear()
    harness.wait_for("queue is back", lambda: gateway.command("track", "--json").returncode == 0, 60)
    gateway.tracked("delivered" if answer[0] == "2" else "bounced", sender="one@sender.test")
    report = answer[0] == "5"
    if report:
        gateway.tracked("delivered", recipient="one@sender.test")
    harness.wait_for("nothing is left behind", lambda: not files_left(gateway))
    flows(gateway, "after@sender.test", size)
    gateway.tracked("delivered", sender="after@sender.test")
    assert sorted(m.sender for m in peer.messages) == sorted(["" if report else "one@sender.test", "after@sender.test"])


@as_root
@SIZES
def test_11_14_11_17_queue_without_descriptors(faulty, make_sink, size):
    """No channel, no content file, no lease can be opened; then they can, and everybody finds the way back by himself."""
    sink = make_sink()
    gateway, faults = faulty(next_hop=sink.address)
    flows(gateway, "before@sender.test", size)
    gateway.tracked("delivered", sender="before@sender.test")
    roles = gateway.roles()
    queue = roles["queue"]["pid"]
    old = restrict(queue, "nofile", 3)
    got = collections.Counter()
    taken = []
    clients = [smtp.Client(gateway.address()) for _ in range(12)]  # more than there are channels
    for n, c in enumerate(clients):
        c.ehlo()
        c.send(f"MAIL FROM:<during{n}@sender.test>\r\n")
    for n, c in enumerate(clients):
        reply = c.read()
        if reply.code == 250:
            c.expect("RCPT TO:<bob@good.test>", 250)
            reply = c.data(content(size))
        assert reply.code in (250, 451, 452), reply
        got[reply.code] += 1
        taken += [f"during{n}@sender.test"] * (reply.code == 250)
        c.close()
    if size == LARGE:
        assert got[451] and not got[250], got
        assert heard(gateway, "storage_failed part=content", "Too many open files", "raise the limit of open files"), gateway.stderr()
    restrict(queue, "nofile", old)
    flows(gateway, "after@sender.test", size)
    for sender in (*taken, "after@sender.test"):
        gateway.tracked("delivered", sender=sender)
    assert collections.Counter(line["sender"] for line in sink.messages) == collections.Counter(
        ["before@sender.test", *taken, "after@sender.test"])
    assert {name: role["pid"] for name, role in gateway.roles().items()} == {name: role["pid"] for name, role in roles.items()}


def test_11_14_a_lease_without_descriptors(faulty, make_sink):
    """The content of a large mail cannot be opened: the mail waits seconds and not an hour."""
    sink = make_sink()
    gateway, faults = faulty(next_hop=sink.address)
    faults.fail("queue", "open", "content/1", "EMFILE")  # names begin with the time in hexadecimal
    flows(gateway, "large@sender.test", LARGE)
    harness.wait_for("the content was asked for", faults.hits)
    harness.wait_for("the log says so", lambda: heard(gateway, "storage_failed part=reading", "Too many open files", "raise the limit"))
    assert "content_unreadable" not in gateway.stderr()
    faults.clear()
    gateway.tracked("delivered", sender="large@sender.test")
    assert len(sink.messages) == 1
    assert heard(gateway, "storage_works part=reading")


# track.db, the log of queue.db, backups: mail does not wait for them


def look(gateway, file, sql):
    """The first number of a query, in a copy of queue.db or track.db, so that nothing of it is touched."""
    with tempfile.TemporaryDirectory() as place:
        for name in (file, file + "-wal"):
            with contextlib.suppress(FileNotFoundError):
                shutil.copy(gateway.folder / "state" / name, place)
        with contextlib.closing(sqlite3.connect(f"{place}/{file}")) as db:
            try:
                return db.execute(sql).fetchone()[0]
            except sqlite3.DatabaseError:  # the copy was made in the midst of a write
                return None


def wait_moved(gateway):
    harness.wait_for(lambda: "what is finished is in track.db alone\n" + gateway.stderr()[-3000:],
        lambda: look(gateway, "queue.db", "SELECT count(*) FROM message") == 0)


# name: rules, cause and cure that the log tells
NO_WRITE = ("queue", "write", "track.db")
TRACK = {
    "write ENOSPC": ([(*NO_WRITE, "ENOSPC")], "No space left", "free space"),
    "write EDQUOT": ([(*NO_WRITE, "EDQUOT")], "quota exceeded", "raise the disk quota"),
    "write EIO": ([(*NO_WRITE, "EIO")], "disk I/O error", "check the disk"),
    "write EIO once": ([(*NO_WRITE, "EIO", 1)], "disk I/O error", "check the disk"),
    "sync EIO": ([("queue", "sync", "track.db", "EIO")], "disk I/O error", "check the disk"),
    "sync EIO once": ([("queue", "sync", "track.db", "EIO", 1)], "disk I/O error", "check the disk"),
    "sync ENOSPC once": ([("queue", "sync", "track.db", "ENOSPC", 1)], "disk I/O error", "check the disk"),
    "sync EIO once, then not opened": ([("queue", "sync", "track.db", "EIO", 1), ("queue", "open", "track.db", "EMFILE")], "disk I/O error", "check the disk"),
}


@pytest.mark.parametrize("name", TRACK)
def test_11_17_11_27_what_is_finished_waits_for_track_db(faulty, make_sink, name):
    rules, cause, cure = TRACK[name]
    sink = make_sink()
    gateway, faults = faulty(next_hop=sink.address)
    flows(gateway, "before@sender.test", SMALL)
    gateway.tracked("delivered", sender="before@sender.test")
    wait_moved(gateway)
    roles = gateway.roles()

    for rule in rules:
        faults.fail(*rule)
    for n, size in enumerate((SMALL, LARGE)):
        flows(gateway, f"during{n}@sender.test", size)
        gateway.tracked("delivered", sender=f"during{n}@sender.test")
    harness.wait_for("track.db was written to", faults.hits)
    harness.wait_for(lambda: "the log says so\n" + gateway.stderr(), lambda: heard(gateway, "tracking_delayed", cause, cure))
    if len(rules[-1]) == 4:
        harness.wait_for("it is tried again", lambda before=len(faults.hits()): len(faults.hits()) > before)
        assert len(heard(gateway, "tracking_delayed")) == 1, "and not again and again"
        assert look(gateway, "queue.db", "SELECT count(*) FROM outbox") > 0
        assert not heard(gateway, "tracking_resumed")
        faults.clear()
    wait_moved(gateway)
    harness.wait_for("the log says that, too", lambda: heard(gateway, "tracking_resumed"))
    flows(gateway, "after@sender.test", LARGE)
    gateway.tracked("delivered", sender="after@sender.test")
    wait_moved(gateway)
    harness.wait_for("nothing is left behind", lambda: not files_left(gateway))
    senders = ["after@sender.test", "before@sender.test", "during0@sender.test", "during1@sender.test"]
    assert sorted(record["sender"] for record in gateway.track(since="1h")) == senders, "each is shown once"
    assert look(gateway, "track.db", "SELECT count(*) FROM message") == 4
    assert sorted(line["sender"] for line in sink.messages) == senders
    assert {key: role["pid"] for key, role in gateway.roles().items()} == {key: role["pid"] for key, role in roles.items()}


def fill_log(gateway, megabytes):
    """So much mail in rows, as long as it is taken: the log of queue.db is copied into it every 8 MiB; how many were taken."""
    with smtp.Client(gateway.address()) as c:
        c.ehlo()
        for n in range(megabytes * 1000 // 120):
            c.envelope("s@sender.test", "bob@good.test")
            if c.data(content(120_000)).code != 250:
                return n
    return n + 1


def waiting(gateway):
    return len(gateway.command("queue", "list", "--json").stdout.splitlines())


@pytest.mark.parametrize("error", ["ENOSPC", "EDQUOT"])
def test_11_17_mail_goes_on_while_the_log_cannot_be_copied(faulty, error):
    gateway, faults = faulty(next_hop=harness.free_address(), delivery={"retry": ["1h"]})
    faults.fail("queue", "write", "state/queue.db$", error)
    database = gateway.folder / "state/queue.db"
    size = database.stat().st_size
    taken = fill_log(gateway, 9)
    harness.wait_for("copying the log fails", faults.hits)
    taken += fill_log(gateway, 1)
    assert taken == 75 + 8 and database.stat().st_size == size
    faults.clear()
    taken += fill_log(gateway, 9)
    harness.wait_for("the log is copied", lambda: database.stat().st_size > 10 << 20)
    assert waiting(gateway) == taken == 75 + 8 + 75
    assert "role_died" not in gateway.stderr()


@pytest.mark.parametrize("call", ["write", "sync"])
def test_11_18_a_log_that_cannot_be_copied_for_an_io_error(faulty, call):
    """Nobody knows what is in the file then: role queue ends, and opens it again."""
    gateway, faults = faulty(next_hop=harness.free_address(), delivery={"retry": ["1h"]})
    flows(gateway, "before@sender.test", LARGE)
    faults.fail("queue", call, "state/queue.db$", "EIO")
    taken = 0
    while not faults.hits():
        assert taken < 1000, "it is never copied"
        taken += fill_log(gateway, 1)
    harness.wait_for(lambda: "the log says so\n" + gateway.stderr()[-3000:], lambda: heard(gateway, "store_failed", "check the disk"))
    faults.clear()
    flows(gateway, "after@sender.test", SMALL)
    assert 0 <= waiting(gateway) - taken - 2 <= 1, "the one that was not answered may be there"


# What fails while a backup is made -> a word of the reason
BACKUP = {
    "write ENOSPC": (("master", "write", "backup/queue.db", "ENOSPC"), "No space left"),
    "write EDQUOT": (("master", "write", "backup/track.db", "EDQUOT"), "quota exceeded"),
    "write EIO": (("master", "write", "backup/queue.db", "EIO"), "Input/output error"),
    "content ENOSPC": (("master", "write", "backup/content/", "ENOSPC"), "No space left"),
    "content open EDQUOT": (("master", "open", "backup/content/", "EDQUOT"), "quota exceeded"),
    "database sync EIO": (("master", "sync", "backup/queue.db", "EIO"), "Input/output error"),
    "sync EIO": (("master", "sync", "backup$", "EIO"), "Input/output error"),
    "manifest write ENOSPC": (("master", "write", "backup.json", "ENOSPC"), "No space left"),
    "manifest sync EIO": (("master", "sync", "backup.json", "EIO"), "Input/output error"),
}


def shimmed(gateway, *arguments):
    """A command that obeys the rules, too, as role `master`."""
    return subprocess.run([str(harness.BINARY), "-c", str(gateway.file), *map(str, arguments)], stdin=subprocess.DEVNULL, capture_output=True,
        text=True, timeout=harness.PATIENCE, env=harness.environment() | gateway.variables)


@pytest.mark.parametrize("name", BACKUP)
def test_11_17_a_backup_that_cannot_be_written_is_not_called_complete(faulty, name):
    rule, cause = BACKUP[name]
    gateway, faults = faulty(next_hop=harness.free_address(), delivery={"retry": ["1h"]})
    for size in (SMALL, LARGE):
        flows(gateway, f"{size}@sender.test", size)
    roles = gateway.roles()
    faults.fail(*rule)
    done = shimmed(gateway, "backup", gateway.folder / "backup")
    assert faults.hits() and done.returncode == 1, done
    assert cause in done.stderr and "is incomplete: remove it" in done.stderr and "complete:" not in done.stdout, done
    if name != "manifest sync EIO":
        assert not (gateway.folder / "backup/backup.json").exists()
    flows(gateway, "after@sender.test", LARGE)
    faults.clear()
    done = shimmed(gateway, "backup", gateway.folder / "another")
    assert done.returncode == 0 and "complete: mails that wait: 3," in done.stdout, done
    assert {key: role["pid"] for key, role in gateway.roles().items()} == {key: role["pid"] for key, role in roles.items()}
    # What is being delivered to at the moment is left, and said by the exit code.
    harness.wait_for("all mail is deleted", lambda: gateway.command("queue", "delete", "--all", "--yes").returncode == 0)
    harness.wait_for("queue keeps no content for a backup that ended", lambda: not files_left(gateway))


@pytest.mark.parametrize("rule,cause", [(("master", "write", "state/", "ENOSPC"), "No space left"), (("master", "write", "state/queue.db", "EDQUOT"), "quota exceeded"),
    (("master", "sync", "state/queue.db", "EIO"), "queue.db cannot be written"), (("master", "sync", "state$", "EIO"), "Input/output error")],
    ids=["write ENOSPC", "write EDQUOT", "database sync EIO", "sync EIO"])
def test_11_17_a_restore_that_cannot_be_written_is_done_again(faulty, make_gateway, make_sink, rule, cause):
    gateway, faults = faulty(next_hop=harness.free_address(), delivery={"retry": ["1h"]})
    for size in (SMALL, LARGE):
        flows(gateway, f"{size}@sender.test", size)
    assert gateway.command("backup", gateway.folder / "backup").returncode == 0
    gateway.stop()
    sink = make_sink()
    fresh = make_gateway(start=False, next_hop=sink.address)
    fresh.variables = gateway.variables
    faults.fail(*rule)
    done = shimmed(fresh, "restore", gateway.folder / "backup")
    assert faults.hits() and done.returncode == 1 and cause in done.stderr, done
    faults.clear()
    done = shimmed(fresh, "restore", gateway.folder / "backup")
    if done.returncode != 0:
        assert "not empty" in done.stderr or "interrupted" in done.stderr, done
        shutil.rmtree(fresh.folder / "state")
        assert shimmed(fresh, "restore", gateway.folder / "backup").returncode == 0
    fresh.start()
    assert sorted(line["sender"] for line in sink.wait(2)) == [f"{SMALL}@sender.test", f"{LARGE}@sender.test"]


# A file system that is really too small


@pytest.fixture
def small_disk(make_gateway, make_sink):
    """small_disk(size, inodes) -> (a running gateway whose state lies on a file system of that size, the sink behind)."""
    mounted = []

    def start(size, inodes):
        sink = make_sink()
        gateway = make_gateway(start=False, next_hop=sink.address, delivery={"retry": ["200ms"]},
            limits={"min_free_space": 0, "min_free_inodes": 0})
        state = gateway.folder / "state"
        state.mkdir()
        user = pwd.getpwnam(harness.USER)
        subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size},nr_inodes={inodes},mode=0700,uid={user.pw_uid},gid={user.pw_gid}",
            "postern-test", str(state)], check=True)
        mounted.append((gateway, state))
        return gateway.start(), sink

    yield start
    for gateway, state in mounted:
        try:
            gateway.stop()
        finally:
            subprocess.run(["umount", "-l", str(state)], check=True)


def use_up(gateway, what):
    """Take all space or all inodes; the files that did it."""
    state = gateway.folder / "state"
    if what == "space":
        have = os.statvfs(state)
        filler = state / "filler"
        with open(filler, "wb") as f:
            os.posix_fallocate(f.fileno(), 0, have.f_bavail * have.f_frsize)
        return [filler]
    files = []
    try:
        while True:
            files.append(state / f"filler{len(files)}")
            files[-1].touch()
    except OSError:
        return files[:-1]


@as_root
@pytest.mark.parametrize("what", ["space", "inodes"])
def test_11_17_11_19_nothing_left_on_the_disk(small_disk, what):
    gateway, sink = small_disk(100 << 20, 40)
    flows(gateway, "before@sender.test", LARGE)
    gateway.tracked("delivered", sender="before@sender.test")
    harness.wait_for("its file is gone", lambda: not files_left(gateway))
    fillers = use_up(gateway, what)
    assert try_mail(gateway, "large@sender.test", LARGE) == NO_SPACE
    harness.wait_for(lambda: "the log says so\n" + gateway.stderr(),
        lambda: heard(gateway, "storage_failed part=content", "No space left", "free space or inodes"))
    small = try_mail(gateway, "small@sender.test", SMALL)  # fits into what the database already has
    assert small in (NO_SPACE, ("250", "2.0.0")), small
    for filler in fillers:
        filler.unlink()
    flows(gateway, "after@sender.test", LARGE)
    taken = ["before@sender.test", "after@sender.test"] + ["small@sender.test"] * (small[0] == "250")
    for sender in taken:
        gateway.tracked("delivered", sender=sender)
    assert collections.Counter(line["sender"] for line in sink.messages) == collections.Counter(taken)
    assert "role_died" not in gateway.stderr()
