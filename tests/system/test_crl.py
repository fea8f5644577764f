"""Lists of revoked certificates: fetched by role `upkeep`, proved, kept, used where servers are verified, shown by `postern crl`. A61 to A69, conformance 7.26 to 7.36."""

import json
import os
import re
import shutil
import signal
import socket
import subprocess

import pytest

import crl
import dns
import harness
import unpacked
from test_smart_host import AUTH, attempt_of, names, send, start  # noqa: F401 (fixtures)

SOURCE = {"name": "ca", "type": "asn1", "schedule": "weekly sunday 03:00"}


@pytest.fixture
def authority(pki):
    return crl.Authority(pki)


@pytest.fixture
def server():
    with crl.Server() as s:
        yield s


def sources(*entries, **more):
    return {"crl_sources": {"check": {"outbound_smtp": True}, **more, "sources": [{**SOURCE, **entry} for entry in entries]}}


def listed(gateway, name="ca"):
    """What `crl show` says; its exit status does not matter."""
    done = gateway.command("crl", "show", name, "--json")
    assert done.returncode in (0, 1), done.stderr
    return json.loads(done.stdout)


def update(gateway, name="ca", status=0):
    done = gateway.command("crl", "update", name, "--json", timeout=120)
    assert done.returncode == status, done.stdout + done.stderr
    return json.loads(done.stdout)


def is_in_use(gateway, generation):
    return harness.wait_for(f"generation {generation} is in use", lambda: gateway.status()["generation"] >= generation)


@pytest.fixture
def gate(start, make_peer, server, authority):
    """gate(list=bytes, source keys..., **settings) -> a gateway that logs in to a smart host, with a list in use."""
    def make(first=None, more={}, **settings):
        if first is not None:
            server.answers["/ca.crl"] = first
        gateway = start(make_peer(**AUTH), configuration=sources({"primary": server.url(), **more}, **settings))
        if first is not None:
            is_in_use(gateway, 2)
        return gateway
    return make


# What lists mean


def test_A61_A67_a_server_whose_certificate_is_listed_gets_nothing(gate, server, authority):
    gateway = gate(authority.list([authority.server]))
    send(gateway)
    attempt = attempt_of(gateway.tracked("deferred", sender="alice@sender.test"))
    assert "the certificate is revoked" in attempt["reply"], attempt
    shown = listed(gateway)
    assert shown["state"] == "current" and shown["entries"] == 1 and shown["number"] == "01" and shown["failure"] is None
    assert shown["from"] == server.url() and "Test CA" in shown["issuer"]
    assert re.search(r" info upkeep crl_renewed source=ca .*entries=1", gateway.stderr())
    assert re.search(r" info master refreshed generation=2 parts=revocation", gateway.stderr())
    counters = gateway.status()["counters"]
    assert counters["crl_fetches"]["renewed"] == 1 and counters["crl_lists"] == {"current": 1, "stale": 0, "missing": 0}
    assert 3500 < counters["crl_age_seconds"] < 5000 and 80000 < counters["crl_next_update_seconds"] < 83000


def test_A67_a_server_that_is_not_listed_is_verified(gate, authority):
    gateway = gate(authority.list([1, 2, 3]))
    send(gateway)
    verification = attempt_of(gateway.tracked("delivered", sender="alice@sender.test"))["tls"]["verification"]
    assert "revocation" in verification["checked"] and verification["reason"] is None, verification
    assert "crl_not_checked" not in gateway.stderr()


def test_A62_off_by_default(start, make_peer, server, authority):
    """The list is fetched and shown; nobody looks at it."""
    server.answers["/ca.crl"] = authority.list([authority.server])
    gateway = start(make_peer(**AUTH), configuration=sources({"primary": server.url()}, check={}))
    is_in_use(gateway, 2)
    send(gateway)
    assert "revocation" not in str(attempt_of(gateway.tracked("delivered", sender="alice@sender.test"))["tls"]["verification"]["checked"])


def test_7_26_without_a_list_mail_passes_and_the_log_says_so_once(gate):
    gateway = gate()
    for name in ("one", "two"):
        send(gateway, f"{name}@sender.test")
        attempt = attempt_of(gateway.tracked("delivered", sender=f"{name}@sender.test"))
        assert "there is no list of revoked certificates" in attempt["tls"]["verification"]["reason"]
        assert "revocation" in attempt["tls"]["verification"]["unchecked"]
    lines = [line for line in gateway.stderr().splitlines() if " crl_not_checked " in line]
    assert len(lines) == 1 and 'issuer="CN=Test CA' in lines[0], lines
    assert gateway.status()["counters"]["crl_lists"]["missing"] == 1


def test_7_26_A67_strict_refuses_what_is_not_known_to_be_good(gate):
    gateway = gate(strict=True)
    send(gateway)
    attempt = attempt_of(gateway.tracked("deferred", sender="alice@sender.test"))
    assert "there is no list of revoked certificates, and strict checking is on" in attempt["reply"]


@pytest.mark.parametrize("strict", [False, True])
@pytest.mark.parametrize("revoked", [False, True])
def test_7_27_a_list_past_its_time(gate, authority, strict, revoked):
    """It still says who is revoked; it does not say that anybody is good."""
    gateway = gate(authority.list([authority.server] if revoked else [], since=-30 * crl.HOUR), strict=strict)
    send(gateway)
    attempt = attempt_of(gateway.tracked("deferred" if revoked or strict else "delivered", sender="alice@sender.test"))
    if revoked:
        assert "the certificate is revoked" in attempt["reply"]
    else:
        assert "out of date" in attempt["tls"]["verification"]["reason"]
    assert re.search(r" error upkeep crl_expired source=ca ", gateway.stderr())
    assert listed(gateway)["state"] == "stale" and gateway.command("crl", "list").returncode == 1


def test_7_36_an_update_answers_when_the_list_is_in_use(gate, server, authority):
    """Also right after another one, and whoever is asked next: no refresh follows behind."""
    gateway = gate(authority.list())
    for number in range(2, 5):
        server.answers["/ca.crl"] = authority.list([authority.server] if number % 2 == 0 else [], number=number)
        assert update(gateway)["result"] == "renewed"
        assert gateway.status()["generation"] == number + 1
        send(gateway, f"{number}@sender.test")
        gateway.tracked("deferred" if number % 2 == 0 else "delivered", sender=f"{number}@sender.test")
    assert gateway.command("crl", "update").stdout == "ca: unchanged, and in use\n"
    server.answers["/ca.crl"] = authority.list(number=5)
    assert gateway.command("crl", "update", "ca").stdout == "ca: renewed and in use\n"
    assert gateway.stderr().count(" info master refreshed ") == gateway.status()["generation"] - 1 == 5


def test_7_36_an_update_that_is_refused_says_why(start, make_peer, server, authority):
    """What was fetched is not in use while the file of another source is damaged; fetched again, both are."""
    server.answers.update({"/ca.crl": authority.list(), "/b.crl": authority.list()})
    gateway = start(make_peer(**AUTH), configuration=sources({"primary": server.url()}, {"name": "b", "primary": server.url("/b.crl")}))
    assert gateway.command("crl", "update").returncode == 0
    (gateway.folder / "state/upkeep/crl/ca.crl").write_bytes(b"\x30nonsense")
    server.answers["/b.crl"] = authority.list(number=2)
    answer = update(gateway, "b", status=1)
    assert answer["result"] == "refused" and not answer["ok"] and "the list of source ca cannot be used" in answer["reason"]
    done = gateway.command("crl", "update")
    assert done.returncode == 0 and sorted(done.stdout.splitlines()) == ["b: unchanged, and in use", "ca: renewed and in use"], done


def test_a_list_near_its_end_is_told(gate, authority):
    gateway = gate(authority.list(since=-20 * crl.HOUR))
    harness.wait_for("the end is told", lambda: re.search(r" warn upkeep crl_expires source=ca next_update=\S+ seconds=1\d{4}", gateway.stderr()))


# What is fetched and kept


BAD = {
    "status": (None, "status 404"),
    "redirect": (lambda a, s: crl.redirect(s.url("/other.crl")), "redirects are not followed"),
    "truncated": (lambda a, s: crl.cut(a.list(number=9)), ""),
    "empty": (lambda a, s: b"", "it is empty"),
    "html": (lambda a, s: b"<html>sign in</html>", "there is no list of revoked certificates in it"),
    "pem": (lambda a, s: a.list(number=9, pem=True), "it is PEM, and the source is of type asn1"),
    "half": (lambda a, s: a.list(number=9)[:-10], "it is no list of revoked certificates"),
    "behind": (lambda a, s: a.list(number=9) + b"\0", "it is no list of revoked certificates"),
    "signature": (lambda a, s: a.list(number=9)[:-1] + b"\x7f", "its signature is not that of its issuer"),
    "older_7_29": (lambda a, s: a.list(number=4), "it is older than the one that is held (rollback)"),
    "earlier_7_29": (lambda a, s: a.list(number=9, since=-2 * crl.HOUR), "it is older than the one that is held (rollback)"),
    "future": (lambda a, s: a.list(number=9, since=2 * crl.HOUR), "it is from the future"),
    "delta_7_31_A69": (lambda a, s: a.list(number=9, delta=True), "it is a delta"),
    "large": (lambda a, s: lambda handler: crl.send(handler, b"0", 100 << 20), "it is larger than 16777216 bytes"),
    "endless": (lambda a, s: crl.endless, "it is larger than 16777216 bytes"),
}


@pytest.mark.parametrize("what", BAD)
def test_A64_A66_7_35_what_cannot_be_used_changes_nothing_and_the_secondary_url_helps(gate, server, authority, what):
    make, reason = BAD[what]
    gateway = gate(authority.list(number=5), {"secondary": server.url("/second.crl")})
    server.answers["/other.crl"] = authority.list(number=9)
    server.answers["/ca.crl"] = None if make is None else make(authority, server)
    kept = (gateway.folder / "state/upkeep/crl/ca.crl").read_bytes()

    answer = update(gateway, status=1)
    assert answer["result"] == "failed" and answer["reason"].startswith("primary: ") and reason in answer["reason"], answer
    assert (gateway.folder / "state/upkeep/crl/ca.crl").read_bytes() == kept
    shown = listed(gateway)
    assert shown["number"] == "05" and shown["failures"] == 1 and reason in shown["failure"] and shown["state"] == "current"
    assert re.search(r" warn upkeep crl_failed source=ca ", gateway.stderr())
    assert gateway.status()["generation"] == 2 and gateway.status()["counters"]["crl_fetches"]["failed"] == 1
    assert "/other.crl" not in server.asked

    server.answers["/second.crl"] = authority.list(number=10)
    answer = update(gateway)
    assert answer["result"] == "renewed" and reason in answer["reason"]
    assert listed(gateway)["from"] == server.url("/second.crl") and listed(gateway)["failures"] == 0
    assert re.search(r" warn upkeep crl_secondary source=ca ", gateway.stderr())
    is_in_use(gateway, 3)


def test_7_30_lists_of_others(gate, server, authority, tmp_path):
    """Another authority of the same name, and one that nobody trusts."""
    strange = crl.Authority(None, harness.Pki(tmp_path / "strange").folder)
    gateway = gate(authority.list(number=5))
    for list_, reason in ((strange.list(number=9), "another key than its issuer's"),
            (strange.list(number=9, name=crl.x509.Name([])), "no certificate of its issuer is known")):
        server.answers["/ca.crl"] = list_
        answer = update(gateway, status=1)
        assert reason in answer["reason"] or "its signature is not that of its issuer" in answer["reason"], answer
    assert listed(gateway)["number"] == "05"


def test_A63_lists_in_pem(gate, server, authority):
    gateway = gate(authority.list([authority.server], pem=True), {"type": "pem"})
    assert listed(gateway)["entries"] == 1
    for bad, reason in ((authority.list(number=9), "it is ASN.1 (DER), and the source is of type pem"),
            (authority.list(number=9, pem=True) * 2, "there is more than one list in it"),
            (authority.list(number=9, pem=True) + authority.certificate.public_bytes(crl.serialization.Encoding.PEM),
                "something else stands beside the list")):
        server.answers["/ca.crl"] = bad
        assert reason in update(gateway, status=1)["reason"]
    send(gateway)
    assert "is revoked" in attempt_of(gateway.tracked("deferred", sender="alice@sender.test"))["reply"]


def test_A66_the_same_list_again_changes_nothing(gate, authority):
    gateway = gate(authority.list())
    assert update(gateway)["result"] == "unchanged"
    assert update(gateway)["result"] == "unchanged"
    assert gateway.status()["generation"] == 2
    assert gateway.status()["counters"]["crl_fetches"] == {"renewed": 1, "unchanged": 2, "failed": 0}


def test_A65_the_schedule_survives_a_restart(gate, server, authority):
    gateway = gate(authority.list())
    before = listed(gateway)
    gateway.stop()
    assert listed(gateway) == before, "without a gateway too"
    done = gateway.command("crl", "update")
    assert done.returncode == 75 and "running" in done.stderr
    gateway.start()
    send(gateway)
    assert "revocation" in attempt_of(gateway.tracked("delivered", sender="alice@sender.test"))["tls"]["verification"]["checked"]
    assert gateway.status()["counters"]["crl_lists"]["current"] == 1
    assert server.asked == ["/ca.crl"] and gateway.status()["generation"] == 1


def test_A65_tries_by_hand_do_not_lengthen_the_wait(gate, server, authority):
    gateway = gate(authority.list())
    server.answers.clear()
    update(gateway, status=1)
    before = listed(gateway)
    assert before["failures"] == 1
    for _ in range(3):
        update(gateway, status=1)
    after = listed(gateway)
    assert after["failures"] == 1 and after["next_fetch"] == before["next_fetch"]


def failed_often(gateway):
    """As if it had failed seven times in a row: the next try is in an hour."""
    harness.wait_for("it has failed", lambda: listed(gateway)["failures"] == 1)
    gateway.stop()
    place = gateway.folder / "state/upkeep/crl/ca.json"
    place.write_text(json.dumps({**json.loads(place.read_text()), "failures": 7}))


def test_A65_another_url_forgets_the_failures(gate, server, authority):
    gateway = gate()
    failed_often(gateway)
    server.answers["/other.crl"] = authority.list()
    gateway.start()
    gateway.configure(gateway.file.read_text().replace("/ca.crl", "/other.crl"))
    assert gateway.command("reload").returncode == 0
    harness.wait_for("it is fetched at once", lambda: listed(gateway)["state"] == "current")
    assert server.asked == ["/ca.crl", "/other.crl"]


def test_A65_a_new_authority_has_what_failed_tried_at_once(gate, server, tmp_path):
    other = harness.Pki(tmp_path / "other")
    server.answers["/ca.crl"] = crl.Authority(other).list()
    gateway = gate()
    failed_often(gateway)
    gateway.start()
    done = gateway.command("ca", "import", str(other.ca))
    assert done.returncode == 0, done
    harness.wait_for("it is fetched at once", lambda: listed(gateway)["state"] == "current")
    assert server.asked == ["/ca.crl", "/ca.crl"]


def test_7_35_names_that_lead_inside_are_refused_unless_allowed(gate, server, authority):
    """The URL names a host, whoever answers for it in the DNS says where that is."""
    gateway = gate(authority.list(), {"secondary": server.url("/second.crl", "gw.good.test")})
    server.answers["/ca.crl"] = None
    server.answers["/second.crl"] = authority.list(number=2)
    assert "gw.good.test has no public address" in update(gateway, status=1)["reason"]
    assert "/second.crl" not in server.asked
    text = gateway.file.read_text()
    gateway.configure(text + "\nfetch:\n  allow_networks: [127.0.0.0/8]\n")
    assert gateway.command("reload").returncode == 0
    assert update(gateway)["result"] == "renewed"


# What breaks


def pid_of(gateway, name="upkeep"):
    return gateway.roles()[name]["pid"]


def test_upkeep_killed_while_it_fetches_leaves_the_old_list(gate, server, authority):
    gateway = gate(authority.list([authority.server]))
    held = crl.Held(authority.list(number=2))
    server.answers["/ca.crl"] = held
    asking = subprocess.Popen([str(harness.BINARY), "-c", str(gateway.file), "crl", "update", "ca"], stdout=subprocess.PIPE,
        stderr=subprocess.PIPE, text=True, env=harness.environment())
    assert held.begun.wait(60)
    before = pid_of(gateway)
    os.kill(before, signal.SIGKILL)
    assert asking.wait(60) == 75, asking.communicate()
    asking.communicate()
    held.go.set()
    harness.wait_for("upkeep is back", lambda: gateway.roles()["upkeep"]["up"] and pid_of(gateway) != before)
    assert listed(gateway)["number"] == "01" and gateway.roles()["deliver"]["restarts"] == 0
    send(gateway)
    assert "is revoked" in attempt_of(gateway.tracked("deferred", sender="alice@sender.test"))["reply"]
    server.answers["/ca.crl"] = authority.list(number=3)
    harness.wait_for("it can be asked", lambda: gateway.command("crl", "update").returncode == 0)
    assert listed(gateway)["number"] == "03"


def test_a_stop_does_not_wait_for_a_server(gate, server, authority):
    gateway = gate(authority.list())
    server.answers["/ca.crl"] = held = crl.Held(authority.list(number=2))
    asking = subprocess.Popen([str(harness.BINARY), "-c", str(gateway.file), "crl", "update", "ca"], stdout=subprocess.PIPE,
        stderr=subprocess.PIPE, text=True, env=harness.environment())
    assert held.begun.wait(60)
    gateway.stop()
    asking.communicate(timeout=60)
    held.go.set()
    assert "role_killed" not in gateway.stderr()
    assert listed(gateway)["number"] == "01"


def test_7_36_a_list_that_was_written_and_not_announced_is_used(gate, server, authority):
    """`upkeep` ends between the two: the next one looks what is in use."""
    gateway = gate(authority.list())
    place = gateway.folder / "state/upkeep/crl/ca.crl"
    place.write_bytes(authority.list([authority.server], number=2))
    os.kill(pid_of(gateway), signal.SIGKILL)
    is_in_use(gateway, 3)
    send(gateway)
    assert "is revoked" in attempt_of(gateway.tracked("deferred", sender="alice@sender.test"))["reply"]


def test_7_36_a_generation_with_a_broken_list_is_refused_and_the_old_one_stays(start, make_peer, server, authority):
    server.answers["/ca.crl"] = authority.list([authority.server])
    server.answers["/b.crl"] = authority.list([authority.server])
    gateway = start(make_peer(**AUTH), configuration=sources({"primary": server.url()}, {"name": "b", "primary": server.url("/b.crl")}))
    harness.wait_for("both are in use", lambda: gateway.status()["counters"]["crl_lists"]["current"] == 2 and " refreshed " in gateway.stderr())
    place = gateway.folder / "state/upkeep/crl/ca.crl"
    place.write_bytes(b"\x30nonsense")
    server.answers["/b.crl"] = authority.list([authority.server], number=2)
    update(gateway, "b", status=1)
    assert re.search(r" error master refresh_refused .*the list of source ca cannot be used", gateway.stderr())
    send(gateway)
    assert "is revoked" in attempt_of(gateway.tracked("deferred", sender="alice@sender.test"))["reply"]

    gateway.stop()  # a start does not depend on it, and it is fetched again
    assert listed(gateway)["state"] == "damaged"
    gateway.start()
    assert re.search(r" error deliver crl_unusable source=ca reason=", gateway.stderr())
    harness.wait_for("it is mended", lambda: listed(gateway)["state"] == "current")


def test_A66_a_list_of_an_authority_that_is_trusted_no_longer_does_not_hold_up_a_reload(gate, authority, tmp_path):
    gateway = gate(authority.list([authority.server]))
    shutil.copy(harness.Pki(tmp_path / "strange").ca, gateway.folder / "pki/ca.pem")
    assert gateway.command("reload").returncode == 0
    assert re.search(r" error deliver crl_unusable source=ca reason=", gateway.stderr())
    harness.wait_for("it is fetched again, and refused", lambda: listed(gateway)["failures"] > 0)
    assert "its signature is not that of its issuer" in listed(gateway)["failure"]


@pytest.mark.parametrize("damage", [lambda place: place.write_bytes(b"\x30nonsense"), lambda place: place.unlink()], ids=["damaged", "removed"])
def test_7_36_a_reload_keeps_the_list_in_use_when_its_file_is_damaged(gate, server, authority, damage):
    """Mail that waits must not go to the revoked server because of it, and not because `deliver` is started again."""
    gateway = gate(authority.list([authority.server]))
    send(gateway)
    attempt_of(gateway.tracked("deferred", sender="alice@sender.test"))
    server.answers.clear()
    damage(gateway.folder / "state/upkeep/crl/ca.crl")
    assert gateway.command("reload").returncode == 0
    harness.wait_for("it is told", lambda: re.search(r' error upkeep crl_unusable source=ca .*instead="the list in use stays"', gateway.stderr()))
    send(gateway, "two@sender.test")
    assert "is revoked" in attempt_of(gateway.tracked("deferred", sender="two@sender.test"))["reply"]
    before = pid_of(gateway, "deliver")
    os.kill(before, signal.SIGKILL)
    harness.wait_for("deliver is back", lambda: gateway.roles()["deliver"]["up"] and pid_of(gateway, "deliver") != before)
    send(gateway, "three@sender.test")
    assert "is revoked" in attempt_of(gateway.tracked("deferred", sender="three@sender.test"))["reply"]
    server.answers["/ca.crl"] = authority.list(number=2)
    assert update(gateway)["result"] == "renewed"
    is_in_use(gateway, 4)
    send(gateway, "four@sender.test")
    gateway.tracked("delivered", sender="four@sender.test")


def test_a_list_that_was_left_out_does_not_hold_up_others(start, make_peer, server, authority, tmp_path):
    """Of two sources one has an authority that is deleted; the lists of the other are taken into use all the same."""
    other = crl.Authority(None, harness.Pki(tmp_path / "other").folder)
    server.answers.update({"/ca.crl": authority.list(), "/b.crl": other.list()})
    gateway = start(make_peer(**AUTH), configuration=sources({"primary": server.url()}, {"name": "b", "primary": server.url("/b.crl")}))
    custom = gateway.folder / "pki/ca.pem"
    alone = custom.read_bytes()
    custom.write_bytes(alone + b"\n" + (tmp_path / "other/ca.pem").read_bytes())
    assert gateway.command("reload").returncode == 0
    update(gateway, "b")
    harness.wait_for("it is in use", lambda: gateway.status()["generation"] > 2)
    custom.write_bytes(alone)
    assert gateway.command("reload").returncode == 0
    harness.wait_for("b is left out", lambda: re.search(r" error deliver crl_unusable source=b ", gateway.stderr()))
    server.answers["/ca.crl"] = authority.list([authority.server], number=2)
    generation = gateway.status()["generation"]
    assert update(gateway)["result"] == "renewed"
    is_in_use(gateway, generation + 1)
    assert "refresh_refused" not in gateway.stderr()
    send(gateway)
    assert "is revoked" in attempt_of(gateway.tracked("deferred", sender="alice@sender.test"))["reply"]


def test_7_35_a_large_list_is_in_use_within_seconds(gate, server, authority, pki, tmp_path):
    """Some 100,000 entries: mail goes on, and nobody is taken for one that hangs."""
    gateway = gate(authority.list())
    server.answers["/ca.crl"] = crl.long_list(pki, tmp_path / "ca", [authority.server, *range(10**12, 10**12 + 100000)], 2)
    assert update(gateway)["result"] == "renewed"
    is_in_use(gateway, 3)
    assert listed(gateway)["entries"] == 100001
    send(gateway)
    assert "is revoked" in attempt_of(gateway.tracked("deferred", sender="alice@sender.test"))["reply"]
    assert all(role["restarts"] == 0 for role in gateway.roles().values())


def test_what_is_no_file_of_its_own_is_not_read(gate, server, authority):
    """A role that was taken over may write to its directory: master follows no link there, and waits for no pipe."""
    gateway = gate(authority.list())
    server.answers.clear()  # else it is fetched again, and the file is mended
    place = gateway.folder / "state/upkeep/crl/ca.crl"
    secret = gateway.folder / "pki/server.key"
    for make in (lambda: place.symlink_to(secret), lambda: os.mkfifo(place), lambda: place.mkdir()):
        if place.is_dir():
            place.rmdir()
        else:
            place.unlink()
        make()
        check = gateway.command("check")
        assert check.returncode == 0 and "the list that was fetched of `ca`" in check.stderr, check.stderr
        assert gateway.command("reload").returncode == 0
    harness.wait_for("the fetch has failed", lambda: listed(gateway)["failures"] == 1)
    directory = place.parent
    place.rmdir()
    shutil.rmtree(directory)
    directory.symlink_to(gateway.folder / "pki")
    assert "cannot be read" in gateway.command("check").stderr
    directory.unlink()


def test_crl_commands_explain_themselves(gate, authority):
    gateway = gate(authority.list())
    assert gateway.command("crl", "list").stdout.startswith("ca               current   until ")
    assert "issuer: CN=Test CA" in gateway.command("crl", "show", "ca").stdout
    for arguments, status, words in ((["show", "no"], 1, "no source `no`"), (["show"], 2, "a NAME is missing"), (["x"], 2, "usage"),
            (["list", "--wrong"], 2, "wrong")):
        done = gateway.command("crl", *arguments)
        assert done.returncode == status and words in done.stderr, done.stderr
    gateway.configure(gateway.file.read_text().replace("type: asn1", "type: der"))
    assert "found `der` (did you mean `asn1`?)" in gateway.command("check").stderr


def test_crl_commands_work_while_another_file_is_being_written(gate, server, authority):
    gateway = gate(authority.list())
    (gateway.folder / "pki/server.pem").write_text("-----BEGIN CERTIFICATE-----\nMIIB")
    assert gateway.command("check").returncode == 1
    assert listed(gateway)["state"] == "current" and gateway.command("crl", "list").returncode == 0
    server.answers["/ca.crl"] = authority.list(number=2)
    assert update(gateway)["result"] == "renewed"


@pytest.mark.parametrize("what", ["signature", "form", "authority"])
def test_A61_crl_list_and_show_say_what_the_roles_think_of_a_list(gate, server, authority, tmp_path, what):
    gateway = gate(authority.list())
    place = gateway.folder / "state/upkeep/crl/ca.crl"
    if what == "authority":
        (gateway.folder / "pki/ca.pem").write_text("")
        reason = "unusable: no authority vouches for it"
    else:
        bad = authority.list(number=2)
        place.write_bytes(bad[:-1] + bytes([bad[-1] ^ 1]) if what == "signature" else bad[:-10])
        reason = {"signature": "unusable: its signature is not that of its issuer", "form": "unusable: it is no list of revoked certificates"}[what]
    done = gateway.command("crl", "list")
    assert done.returncode == 1 and done.stdout.startswith(f"ca               damaged   {reason}"), done
    shown = gateway.command("crl", "show", "ca")
    assert shown.returncode == 1 and f"  failure: {reason}" in shown.stdout, shown
    assert listed(gateway)["state"] == "damaged" and listed(gateway)["failure"].startswith(reason)


def test_A63_a_source_that_is_switched_off_is_neither_fetched_nor_used(gate, server, authority):
    gateway = gate(authority.list([authority.server]))
    text = gateway.file.read_text()
    assert "schedule:" in text
    gateway.configure(text.replace("schedule:", "enabled: false\n      schedule:"))
    assert gateway.command("reload").returncode == 0
    assert listed(gateway)["state"] == "disabled" and gateway.command("crl", "list").returncode == 0
    assert "it is switched off" in update(gateway, status=1)["reason"]
    send(gateway)
    gateway.tracked("delivered", sender="alice@sender.test")
    assert server.asked == ["/ca.crl"]


# Real servers


CONFIGURATION = """user root; worker_processes 1; daemon off; pid pid; error_log stderr warn;
events {{ worker_connections 64; }}
http {{ access_log off;
 client_body_temp_path t/b; proxy_temp_path t/p; fastcgi_temp_path t/f; uwsgi_temp_path t/u; scgi_temp_path t/s;
 server {{ listen 127.0.0.1:{plain}; root root; gzip on; gzip_types *; gzip_min_length 1;
  location = /moved.crl {{ return 301 /ca.crl; }} }}
 server {{ listen 127.0.0.1:{secure} ssl; ssl_certificate {pki}/server.pem; ssl_certificate_key {pki}/server.key; root root; }} }}
"""


@pytest.fixture
def nginx(tmp_path, pki):
    """The folder that it serves, and its ports for http and https."""
    binary = unpacked.package("nginx", "nginx") / "usr/sbin/nginx"
    (tmp_path / "root").mkdir()
    (tmp_path / "t").mkdir()
    ports = dns.free_port(), dns.free_port()
    (tmp_path / "nginx.conf").write_text(CONFIGURATION.format(plain=ports[0], secure=ports[1], pki=pki.folder))
    with open(tmp_path / "stderr", "wb") as log:
        process = subprocess.Popen([binary, "-p", tmp_path, "-c", "nginx.conf", "-e", "stderr"], stdin=subprocess.DEVNULL,
            stdout=log, stderr=log, env=harness.environment())
    try:
        harness.wait_for(lambda: "nginx answers\n" + (tmp_path / "stderr").read_text(), lambda: all(map(answers, ports)))
        yield tmp_path / "root", *ports
    finally:
        process.terminate()
        process.wait(30)


def answers(port):
    try:
        socket.create_connection(("127.0.0.1", port), 5).close()
    except OSError:
        return False
    return True


@pytest.mark.parametrize("what", ["name", "authority"])
def test_A65_why_an_https_server_was_not_believed(gate, pki, tmp_path, what):
    """The certificate is for 127.0.0.1; or nobody knows who made it."""
    host, whose, reason = {"name": ("127.0.0.2", pki, "target host name '127.0.0.2'"),
        "authority": ("127.0.0.1", harness.Pki(tmp_path / "strange"), "certificate problem: ")}[what]
    with crl.Server(host, whose) as server:
        answer = update(gate(more={"primary": f"https://{host}:{server.port}/ca.crl"}), status=1)
    assert answer["reason"].startswith("primary: TLS: the certificate of the server is not accepted: ") and reason in answer["reason"], answer


def test_A65_7_35_lists_from_nginx(start, make_peer, nginx, authority):
    """Over http and https, made and signed by openssl; a redirect is not followed."""
    root, plain, secure = nginx
    (root / "ca.crl").write_bytes(authority.list([authority.server]))
    (root / "pem.crl").write_bytes(authority.list(number=2, pem=True))
    gateway = start(make_peer(**AUTH), configuration=sources({"primary": f"http://127.0.0.1:{plain}/ca.crl"},
        {"name": "moved", "primary": f"http://127.0.0.1:{plain}/moved.crl"},
        {"name": "tls", "type": "pem", "primary": f"https://127.0.0.1:{secure}/pem.crl"}))
    harness.wait_for("all were tried", lambda: [listed(gateway, n)["state"] for n in ("ca", "moved", "tls")] == ["current", "missing", "current"]
        and listed(gateway, "moved")["failures"] == 1)
    assert "redirects are not followed" in listed(gateway, "moved")["failure"]
    assert (listed(gateway)["number"], listed(gateway, "tls")["number"]) == ("01", "02")
    assert gateway.command("reload").returncode == 0  # with all that is there, whatever was announced by now
    send(gateway)  # of two of one issuer the later counts
    gateway.tracked("delivered", sender="alice@sender.test")
