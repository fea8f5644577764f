"""The processes: their environment and user, what happens when one dies, reload, stop, and that a 250 is a promise."""

import os
import pathlib
import pwd
import re
import resource
import signal

import pytest

import harness
import smtp

ROLES = ["front", "queue", "deliver", "resolver", "keys", "upkeep"]


def send(gateway, sender="alice@sender.test", recipient="bob@good.test", content=None):
    return smtp.submit(gateway.address(), sender, recipient, content or harness.message())


def is_up_again(gateway, name, old_pid):
    role = gateway.roles()[name]
    return role["up"] and role["pid"] != old_pid and harness.is_alive(role["pid"]) and role


def test_status_lists_the_roles(gateway):
    status = gateway.status()
    assert {role["name"] for role in status["roles"]} == {"master", *ROLES}
    pids = [role["pid"] for role in status["roles"]]
    assert len(set(pids)) == 1 + len(ROLES) and all(harness.is_alive(pid) for pid in pids)
    assert gateway.roles()["master"]["pid"] == gateway.process.pid
    assert status["generation"] == 1
    assert all(role["up"] and role["generation"] == 1 for role in status["roles"])
    assert {"accepted", "rejected", "queued", "delivered", "deferred", "bounced", "tls_in", "tls_out"} \
        <= set(status["counters"])
    for_people = gateway.command("status")
    assert for_people.returncode == 0
    assert all(role in for_people.stdout for role in ROLES)
    assert "\nlog: stderr\n" in for_people.stdout and "metrics" not in for_people.stdout
    assert f"  main         expires {status['certificates'][0]['expires']}\n" in for_people.stdout


def test_status_says_where_the_log_and_the_page_are(make_gateway):
    gateway = make_gateway(log={"to": "./gw.log"}, metrics={"address": "127.0.0.1:0"})
    said = gateway.command("status").stdout
    assert f"\nlog: {gateway.folder.resolve()}/gw.log\n" in said and f"\nmetrics: {gateway.status()['metrics']}\n" in said, said


def test_roles_run_with_an_empty_environment(gateway):
    for name, role in gateway.roles().items():
        if name == "master":
            continue
        entries = pathlib.Path(f"/proc/{role['pid']}/environ").read_bytes().split(b"\0")
        names = {entry.split(b"=")[0].decode() for entry in entries if entry}
        assert names <= set(harness.SANITIZER_VARIABLES), f"{name}: {names}"


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can change the user of a role")
def test_roles_run_as_their_user(gateway):
    user = pwd.getpwnam(harness.USER)
    for name, role in gateway.roles().items():
        if name == "master":
            continue
        text = pathlib.Path(f"/proc/{role['pid']}/status").read_text()
        fields = dict(line.split(":", 1) for line in text.splitlines())
        assert set(fields["Uid"].split()) == {str(user.pw_uid)}, name
        assert set(fields["Gid"].split()) == {str(user.pw_gid)}, name
        assert fields["Groups"].split() in ([], [str(user.pw_gid)]), name
        assert int(fields["CapEff"], 16) == 0, name


def test_roles_may_open_as_much_as_the_system_allows(make_gateway):
    """1,024 descriptors, which is what programs begin with, do not carry 1,000 connections."""
    before, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(512, most), most))
    try:
        gateway = make_gateway()
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (before, most))
    for name in ROLES:
        limits = pathlib.Path(f"/proc/{gateway.roles()[name]['pid']}/limits").read_text()
        assert re.search(rf"^Max open files +{most} +{most} ", limits, re.M), limits


def test_nothing_secret_in_the_arguments(gateway):
    for role in gateway.roles().values():
        arguments = pathlib.Path(f"/proc/{role['pid']}/cmdline").read_bytes()
        assert b"PRIVATE KEY" not in arguments


@pytest.mark.parametrize("name", ROLES)
def test_killed_role_comes_back_while_the_others_go_on(gateway, sink, name):
    before = gateway.roles()
    os.kill(before[name]["pid"], signal.SIGKILL)

    back = harness.wait_for(f"{name} is back", lambda: is_up_again(gateway, name, before[name]["pid"]))
    assert back["restarts"] == 1
    after = gateway.roles()
    for other in {"master", *ROLES} - {name}:
        assert after[other]["pid"] == before[other]["pid"], f"{other} was restarted too"

    def flows():
        try:
            return send(gateway, sender="after@sender.test")
        except (AssertionError, OSError, smtp.Closed):
            return None  # 451 or no connection while the wires are laid again

    harness.wait_for("mail is taken again", flows)
    gateway.tracked("delivered", sender="after@sender.test")
    assert "after@sender.test" in [line["sender"] for line in sink.wait()]
    assert f"role_died name={name}" in gateway.stderr()


def test_role_that_dies_again_and_again_is_held_back_but_comes_back(gateway):
    """Back-off: the restarts get further apart, and the others stay."""
    others = {name: gateway.roles()[name]["pid"] for name in ("front", "queue")}
    for _ in range(4):
        pid = gateway.roles()["deliver"]["pid"]
        os.kill(pid, signal.SIGKILL)
        harness.wait_for("deliver is back", lambda: is_up_again(gateway, "deliver", pid))
    send(gateway)
    gateway.tracked("delivered", sender="alice@sender.test", patience=60)
    assert {name: gateway.roles()[name]["pid"] for name in others} == others


def test_mail_taken_while_deliver_is_dead_is_delivered_after(gateway, sink):
    os.kill(gateway.roles()["deliver"]["pid"], signal.SIGKILL)
    for n in range(5):
        send(gateway, sender=f"dead{n}@sender.test")
    gateway.tracked("delivered", count=5, recipient="bob@good.test")
    assert len(sink.wait(5)) == 5


def test_leases_of_a_dead_deliver_are_free_at_once(make_gateway, make_peer):
    """deliver is killed in the middle of a delivery; the mail goes out again soon, not after a lease time-out."""
    import threading
    gate = threading.Event()
    peer = make_peer(pause=lambda: gate.wait(60))
    gateway = make_gateway(next_hop=peer.address)
    send(gateway)
    harness.wait_for("deliver is connected", lambda: peer.sessions)
    os.kill(gateway.roles()["deliver"]["pid"], signal.SIGKILL)
    gate.set()
    gateway.tracked("delivered", sender="alice@sender.test")
    assert len(peer.messages) == 1


def test_queue_dies_while_a_delivery_is_under_way(make_gateway, make_peer):
    """deliver keeps the outcome until the new queue acknowledges it: the mail is not sent twice."""
    import threading
    gate = threading.Event()
    peer = make_peer(pause=lambda: gate.wait(60))
    gateway = make_gateway(next_hop=peer.address, delivery={"retry": ["100ms"]})
    send(gateway)
    harness.wait_for("deliver is connected", lambda: peer.sessions)
    before = gateway.roles()["queue"]["pid"]
    os.kill(before, signal.SIGKILL)
    harness.wait_for("queue is back", lambda: is_up_again(gateway, "queue", before))
    gate.set()
    gateway.tracked("delivered", sender="alice@sender.test")
    assert len(peer.messages) == 1


def test_front_hears_451_while_queue_is_stopped_dead(gateway):
    """A commit that gets no answer because queue died is a temporary failure, never a 250."""
    with smtp.Client(gateway.address()) as c:
        c.ehlo()
        c.expect("MAIL FROM:<a@sender.test>", 250)
        c.expect("RCPT TO:<bob@good.test>", 250)
        queue = gateway.roles()["queue"]["pid"]
        os.kill(queue, signal.SIGSTOP)
        c.expect("DATA", 354)
        c.send(harness.message() + b".\r\n")
        os.kill(queue, signal.SIGKILL)
        reply = c.read()
        assert reply.code == 451, reply


# A 250 is a promise


def test_mail_survives_stop_and_start(make_gateway, make_sink):
    gateway = make_gateway(next_hop=harness.free_address())
    large = harness.message("large", ("y" * 70 + "\r\n") * 5000)
    send(gateway, sender="small@sender.test")
    send(gateway, sender="large@sender.test", content=large)
    gateway.stop()
    sink = make_sink()
    gateway.configure(harness.settings(next_hop=sink.address))
    gateway.start()
    gateway.tracked("delivered", count=2, recipient="bob@good.test")
    contents = {line["sender"]: sink.content(line) for line in sink.wait(2)}
    assert harness.split_received(contents["large@sender.test"])[1] == large


def test_mail_survives_kill_of_everything(make_gateway, make_sink):
    gateway = make_gateway(next_hop=harness.free_address())
    for n in range(20):
        send(gateway, sender=f"kill{n}@sender.test")
    gateway.kill_all()
    sink = make_sink()
    gateway.configure(harness.settings(next_hop=sink.address))
    gateway.start()
    gateway.tracked("delivered", count=20, recipient="bob@good.test")
    assert {line["sender"] for line in sink.wait(20)} == {f"kill{n}@sender.test" for n in range(20)}


def test_roles_end_when_master_is_killed(gateway):
    pids = [role["pid"] for name, role in gateway.roles().items() if name != "master"]
    gateway.process.kill()
    gateway.process.wait()
    gateway.process = None
    for pid in pids:
        harness.wait_for(f"role {pid} ended", lambda: not harness.is_alive(pid))


# Reload


def test_reload_changes_the_policy_and_keeps_the_open_session(make_gateway, sink):
    gateway = make_gateway(next_hop=sink.address)
    before = gateway.roles()
    with smtp.Client(gateway.address()) as old:
        old.ehlo()
        gateway.configure(harness.settings(next_hop=sink.address, listener_tls="required"))
        done = gateway.command("reload")
        assert done.returncode == 0, done.stderr
        after = gateway.roles()
        assert {role["generation"] for role in after.values()} == {2}
        assert {n: r["pid"] for n, r in after.items()} == {n: r["pid"] for n, r in before.items()}, "nobody restarted"
        with smtp.Client(gateway.address()) as new:
            new.ehlo()
            new.expect("MAIL FROM:<a@sender.test>", 530, "5.7.0")
            new.quit()
        old.mail("old@sender.test", "bob@good.test", harness.message())
        old.quit()
    gateway.tracked("delivered", sender="old@sender.test")


def test_reload_adds_and_removes_a_listener(make_gateway, sink):
    base = harness.settings(next_hop=sink.address)
    gateway = make_gateway(base)
    old_address = gateway.address("inbound")
    second = dict(base["listeners"][0], name="second")
    both = dict(base, listeners=[base["listeners"][0], second])
    gateway.configure(both)
    assert gateway.command("reload").returncode == 0
    assert gateway.address("inbound") == old_address, "the listener that stays keeps its port"
    smtp.submit(gateway.address("second"), "two@sender.test", "bob@good.test", harness.message())
    gateway.tracked("delivered", sender="two@sender.test")

    with smtp.Client(old_address) as old:
        old.ehlo()
        gateway.configure(dict(base, listeners=[second]))
        assert gateway.command("reload").returncode == 0
        assert [l["name"] for l in gateway.status()["listeners"]] == ["second"]

        def is_refused():
            try:
                smtp.Client(old_address, greet=False).close()
            except ConnectionRefusedError:
                return True

        harness.wait_for("the old port is closed", is_refused)
        old.mail("old@sender.test", "bob@good.test", harness.message())
        old.quit()
    gateway.tracked("delivered", sender="old@sender.test")


def test_reload_takes_a_new_certificate(make_gateway, sink, tmp_path):
    gateway = make_gateway(next_hop=sink.address)
    fresh = harness.Pki(tmp_path / "fresh")
    fresh.copy_to(gateway.folder / "pki")
    assert gateway.command("reload").returncode == 0
    with smtp.Client(gateway.address()) as c:
        c.ehlo()
        tls = c.starttls()
        import hashlib
        assert hashlib.sha256(tls.getpeercert(binary_form=True)).hexdigest() == fresh.fingerprint()
        c.ehlo()
        c.quit()


def test_reload_by_sighup(make_gateway, sink):
    gateway = make_gateway(next_hop=sink.address)
    gateway.process.send_signal(signal.SIGHUP)
    harness.wait_for("generation 2", lambda: gateway.generation() == 2)


@pytest.mark.parametrize("broken,word", [
    ("listeners: [\n", "postern.yaml:"),
    (None, "listner_tls"),
    ("hostname: gw.good.test\n", "listeners"),
], ids=["not YAML", "unknown key", "missing keys"])
def test_broken_file_is_refused_and_the_old_generation_stays(make_gateway, sink, broken, word):
    good = harness.settings(next_hop=sink.address)
    gateway = make_gateway(good)
    before, address = gateway.roles(), gateway.address()
    gateway.configure(broken if broken is not None else dict(good, listner_tls="none"))
    done = gateway.command("reload")
    assert done.returncode == 1
    assert word in done.stderr and "postern.yaml" in done.stderr, done.stderr
    smtp.submit(address, "alice@sender.test", "bob@good.test", harness.message())
    refused = gateway.stderr().count(" reload_refused ")  # 0 when the command could read no runtime_dir
    gateway.process.send_signal(signal.SIGHUP)  # the other way to ask for a reload
    harness.wait_for("the refusal is logged", lambda: gateway.stderr().count(" reload_refused ") == refused + 1)

    gateway.configure(good)
    assert gateway.roles() == before
    assert gateway.generation() == 1
    gateway.tracked("delivered", sender="alice@sender.test")
    assert gateway.command("reload").returncode == 0
    assert gateway.generation() >= 2


def test_reload_refuses_a_port_in_use_and_goes_on(make_gateway, sink, make_peer):
    taken = make_peer()
    good = harness.settings(next_hop=sink.address)
    gateway = make_gateway(good)
    gateway.configure(dict(good, listeners=[dict(good["listeners"][0]),
        dict(good["listeners"][0], name="second", address=taken.address)]))
    done = gateway.command("reload")
    assert done.returncode == 1
    assert taken.address in done.stderr and "second" in done.stderr, done.stderr
    assert [l["name"] for l in gateway.status()["listeners"]] == ["inbound"]
    send(gateway)
    gateway.tracked("delivered", sender="alice@sender.test")


def test_restarted_role_gets_the_current_generation(make_gateway, sink):
    gateway = make_gateway(next_hop=sink.address)
    gateway.configure(harness.settings(next_hop=sink.address, listener_tls="required"))
    assert gateway.command("reload").returncode == 0
    before = gateway.roles()["front"]["pid"]
    os.kill(before, signal.SIGKILL)
    harness.wait_for("front is back", lambda: is_up_again(gateway, "front", before))

    def is_required():
        try:
            with smtp.Client(gateway.address()) as c:
                c.ehlo()
                return c.do("MAIL FROM:<a@sender.test>").code == 530
        except (OSError, smtp.Closed):
            return False

    harness.wait_for("the new front follows generation 2", is_required)


# Stop


def test_stop_drains(gateway):
    """A session at a command boundary hears 421 4.3.2; one in its data is allowed to finish."""
    idle = smtp.Client(gateway.address())
    idle.ehlo()
    busy = smtp.Client(gateway.address())
    busy.ehlo()
    busy.expect("MAIL FROM:<busy@sender.test>", 250)
    busy.expect("RCPT TO:<bob@good.test>", 250)
    busy.expect("DATA", 354)
    busy.send(harness.message())
    gateway.process.send_signal(signal.SIGTERM)
    reply = idle.read()
    assert (reply.code, reply.status) == (421, "4.3.2"), reply
    idle.expect_closed()
    busy.send(b".\r\n")
    reply = busy.read()
    assert reply.code in (250, 421, 451), reply
    code = gateway.wait_end()
    assert code == 0, gateway.stderr()
    gateway.assert_clean()
    idle.close()
    busy.close()
    records = gateway.track(sender="busy@sender.test")
    assert len(records) == (1 if reply.code == 250 else 0), "promised exactly when it heard 250"


def test_stop_by_sigint(gateway):
    gateway.stop(signal.SIGINT)


def test_stop_leaves_no_process_and_no_control_socket(gateway):
    pids = [role["pid"] for role in gateway.roles().values()]
    gateway.stop()
    assert not [pid for pid in pids if harness.is_alive(pid)]
    assert gateway.command("status").returncode == 75
