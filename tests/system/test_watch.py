"""Certificates, keys and authorities whose files change while the gateway runs: they are used without a reload, in every way in which files are
exchanged (8.21)."""

import os
import shutil

import pytest

import harness
import smtp
from test_cert import presented
from test_keys import fingerprint, make_certificate

PAIR = ("tls.crt", "tls.key")


def make(folder, number):
    """A pair, number `number`, called as Kubernetes calls them; its fingerprint."""
    folder.mkdir(parents=True, exist_ok=True)
    shown = make_certificate(folder, f"new{number}", "P-256")
    (folder / f"new{number}.pem").rename(folder / "tls.crt")
    (folder / f"new{number}.key").rename(folder / "tls.key")
    return shown


def replace(target, link):
    """A symbolic link that takes the place of another one, as `ln -sfn` or certbot do."""
    new = link.with_name(link.name + ".tmp")
    new.symlink_to(target)
    new.rename(link)


class Watched:
    def __init__(self, make_gateway, folder, **more):
        """A gateway whose pair is `folder`/tls.crt and tls.key below its own folder."""
        self.gateway = make_gateway(start=False)
        self.top = self.gateway.folder / "pki"
        self.folder = self.top / folder
        self.made = 0
        settings = harness.settings(certificates=[{"name": "main", "chain": f"pki/{folder}/tls.crt", "key": f"pki/{folder}/tls.key"}], **more)
        self.gateway.configure(settings)

    def make(self, name):
        self.made += 1
        return make(self.top / name, self.made)

    def wait(self, shown):
        harness.wait_for("the new pair is presented", lambda: presented(self.gateway) == shown)

    def events(self, name):
        return [line for line in self.gateway.stderr().splitlines() if f" {name} " in line]

    def wait_refused(self, count):
        harness.wait_for("it is refused", lambda: len(self.events("refresh_refused")) >= count)
        return "".join(self.events("refresh_refused"))


@pytest.fixture
def files(make_gateway):
    watched = Watched(make_gateway, "plain")
    watched.shown = watched.make("plain")
    watched.gateway.start()
    return watched


@pytest.mark.parametrize("order", [PAIR, PAIR[::-1]])
@pytest.mark.parametrize("way", ["written", "renamed"])
def test_8_21_a_pair_of_files_is_used_when_both_have_come(files, order, way):
    """Half of it is refused, with the file and the cure; who is connected stays so."""
    new = files.make("next")

    def put(name):
        if way == "renamed":
            shutil.copy(files.top / "next" / name, files.folder / "half")
            (files.folder / "half").rename(files.folder / name)
        else:
            (files.folder / name).write_bytes((files.top / "next" / name).read_bytes())

    with smtp.Client(files.gateway.address()) as c:
        c.ehlo()
        c.starttls()
        c.ehlo()
        c.expect("MAIL FROM:<a@sender.test>", 250)
        put(order[0])
        said = files.wait_refused(1)
        assert "parts=certificates" in said and "tls.key" in said and "certificates[main].key" in said and "generation=1" in said, said
        assert " warn master refresh_refused" in said and " error " not in said
        assert presented(files.gateway) == files.shown
        put(order[1])
        files.wait(new)
        c.expect("RCPT TO:<bob@good.test>", 250)
        c.quit()
    assert files.gateway.generation() == 2 and len(files.events("refreshed")) == 1
    assert files.gateway.command("reload").returncode == 0 and presented(files.gateway) == new


def test_8_21_what_is_broken_changes_nothing_and_is_tried_again(files):
    good = (files.folder / "tls.crt").read_bytes()
    for content in (b"", good[:-60], b"nonsense\n"):
        count = len(files.events("refresh_refused"))
        (files.folder / "tls.crt").write_bytes(content)
        assert "certificates[main].chain" in files.wait_refused(count + 1) and " error master refresh_refused" in files.events("refresh_refused")[-1]
        assert presented(files.gateway) == files.shown
    (files.folder / "tls.key").unlink()
    harness.wait_for("the key is missed", lambda: "tls.key` cannot be read" in files.wait_refused(1))
    assert files.gateway.generation() == 1
    new = files.make("plain")
    files.wait(new)
    assert files.gateway.generation() == 2
    (files.folder / "tls.crt").rename(files.folder / "aside")
    harness.wait_for("it is missed", lambda: files.gateway.status()["refused"])
    (files.folder / "aside").rename(files.folder / "tls.crt")
    harness.wait_for("it is what is in use", lambda: not files.gateway.status()["refused"])


def test_8_21_links_of_certbot(make_gateway):
    """live/NAME holds links into archive/NAME, each replaced by another one."""
    watched = Watched(make_gateway, "live")
    first = watched.make("archive/1")
    watched.folder.mkdir()
    for name in PAIR:
        (watched.folder / name).symlink_to(f"../archive/1/{name}")
    watched.gateway.start()
    assert presented(watched.gateway) == first
    for number in (2, 3):
        new = watched.make(f"archive/{number}")
        for name in PAIR if number == 2 else PAIR[::-1]:
            replace(f"../archive/{number}/{name}", watched.folder / name)
        watched.wait(new)
    new = watched.make("archive/3")  # and what they lead to is followed, too
    watched.wait(new)


def test_8_21_the_flip_of_kubernetes(make_gateway):
    """tls.crt -> ..data/tls.crt, ..data -> ..1: one rename exchanges both, and the old directory goes."""
    watched = Watched(make_gateway, "secret")
    watched.folder.mkdir()
    watched.make("secret/..1")
    (watched.folder / "..data").symlink_to("..1")
    for name in PAIR:
        (watched.folder / name).symlink_to(f"..data/{name}")
    watched.gateway.start()
    for number in (2, 3):
        new = watched.make(f"secret/..{number}")
        replace(f"..{number}", watched.folder / "..data")
        shutil.rmtree(watched.folder / f"..{number - 1}")
        watched.wait(new)
    assert watched.gateway.generation() == 3 and not watched.events("refresh_refused")


def test_8_21_a_directory_on_the_way_is_moved(make_gateway):
    watched = Watched(make_gateway, "a/b")
    watched.make("a/b")
    watched.gateway.start()
    new = watched.make("next/b")
    (watched.top / "a").rename(watched.top / "old")
    assert "tls.crt" in watched.wait_refused(1)
    (watched.top / "next").rename(watched.top / "a")
    watched.wait(new)
    newer = watched.make("a/b")
    watched.wait(newer)


def test_8_21_a_link_on_the_way(make_gateway):
    """/etc/tls -> /srv/1, an absolute one."""
    watched = Watched(make_gateway, "way/pair")
    watched.make("srv1/pair")
    (watched.top / "way").symlink_to(watched.top / "srv1")
    watched.gateway.start()
    new = watched.make("srv2/pair")
    replace(watched.top / "srv2", watched.top / "way")
    watched.wait(new)
    # who shows the way in a circle is refused, and the way out of it is found again
    replace("way", watched.top / "way")
    assert "tls.crt" in watched.wait_refused(1)
    newer = watched.make("srv1/pair")
    replace("srv1", watched.top / "way")
    watched.wait(newer)


def test_8_21_the_store_and_the_authorities_by_other_hands(make_gateway):
    """What somebody restores into the store counts as what `postern cert` puts there."""
    gateway = make_gateway(start=False)
    gateway.configure(harness.settings(certificates=[{"name": "main"}]))
    for name in ("main", "other"):
        assert gateway.command("cert", "create", name, "--common-name", "gw.good.test", "--key", "p256").returncode == 0
    gateway.start()
    store = gateway.folder / "state/pki/certificates"
    (store / "main").rename(gateway.folder / "aside")
    (store / "other").rename(store / "main")
    shown = gateway.json("cert", "show", "main")["fingerprint_sha256"]
    harness.wait_for("the new pair is presented", lambda: presented(gateway) == shown)
    before, ours = gateway.generation(), fingerprint(gateway.folder / "pki/ca.pem")
    (gateway.folder / "pki/ca.pem").write_bytes((gateway.folder / "pki/ca.pem").read_bytes() * 2)
    harness.wait_for("the authorities are read", lambda: gateway.generation() == before + 1)
    kept = gateway.folder / "state/pki/authorities/custom"
    kept.mkdir(mode=0o700, parents=True)
    shutil.copy(gateway.folder / "pki/ca.pem", kept / f"{ours}.pem")
    harness.wait_for("the kept ones are read", lambda: gateway.generation() == before + 2)
    (kept.parent / "custom-off").write_text("")
    harness.wait_for("the list is off", lambda: not gateway.status()["authorities"]["custom"]["on"])
    os.utime(gateway.folder / "pki/ca.pem")  # no change; what comes of it would be seen before the next one
    (kept.parent / "custom-off").unlink()
    harness.wait_for("the list is on", lambda: gateway.status()["authorities"]["custom"]["on"])
    assert gateway.generation() == before + 4


def test_8_21_a_broken_certificate_does_not_hold_up_the_authorities(files):
    (files.folder / "tls.crt").write_bytes(b"")
    files.wait_refused(1)
    file = files.gateway.folder / "pki/ca.pem"
    file.write_bytes(file.read_bytes() * 2)
    harness.wait_for("the authorities are used", lambda: files.events("refreshed"))
    status = files.gateway.status()
    refused, = status["refused"]
    assert refused["part"] == "certificates" and refused["since"][:2] == "20" and "tls.crt" in refused["reason"] and status["refreshes_refused"] == 1
    said = files.gateway.command("status")
    assert said.returncode == 0 and f"(certificates) are refused since {refused['since']}" in said.stderr and "tls.crt" in said.stderr
    assert "parts=authorities" in files.events("refreshed")[0] and presented(files.gateway) == files.shown
    whole = file.read_bytes()
    file.write_bytes(b"")  # and the other way round
    harness.wait_for("they are refused", lambda: "parts=authorities" in files.wait_refused(2))
    status = files.gateway.status()
    assert len(status["custom_authorities"]) == 1 and {r["part"] for r in status["refused"]} == {"certificates", "authorities"}
    files.wait(files.make("plain"))
    assert [r["part"] for r in files.gateway.status()["refused"]] == ["authorities"]
    file.write_bytes(whole)
    assert files.gateway.command("reload").returncode == 0 and files.gateway.status()["refused"] == []
    assert "refused since" not in files.gateway.command("status").stderr


def test_8_21_a_file_that_is_a_certificate_and_an_authority(make_gateway):
    """It is read for both, or for none."""
    watched = Watched(make_gateway, "plain", authorities={"system": False, "custom": "pki/plain/tls.crt"})
    watched.make("plain")
    watched.gateway.start()
    new = watched.make("plain")
    watched.wait(new)
    assert [a["fingerprint_sha256"] for a in watched.gateway.status()["custom_authorities"]] == [new]
    assert "parts=certificates,authorities" in watched.events("refreshed")[-1]


def test_8_21_a_file_under_repair_does_not_count(files):
    """The configuration is the one in use, whatever is being written to its file."""
    files.gateway.file.write_text(files.gateway.file.read_text() + "nonsense: 1\n")
    files.wait(files.make("plain"))


def test_8_21_it_can_be_switched_off(make_gateway):
    watched = Watched(make_gateway, "plain", watch_certificates=False)
    shown = watched.make("plain")
    watched.gateway.start()
    master = watched.gateway.status()["roles"][0]["pid"]

    def watches():
        return any("inotify" in os.readlink(f"/proc/{master}/fd/{fd}") for fd in os.listdir(f"/proc/{master}/fd"))

    new = watched.make("plain")
    assert not watches() and presented(watched.gateway) == shown
    text = watched.gateway.file.read_text()
    watched.gateway.configure(text.replace("watch_certificates: false", "watch_certificates: true"))
    assert watched.gateway.command("reload").returncode == 0 and presented(watched.gateway) == new
    harness.wait_for("it watches", watches)
    watched.wait(watched.make("plain"))
    watched.gateway.configure(text)
    assert watched.gateway.command("reload").returncode == 0
    harness.wait_for("it watches no more", lambda: not watches())
