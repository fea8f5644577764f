"""Bad input: one clear sentence on stderr with file, line, key and cure; exit 1; nothing changed. And usage errors."""

import json
import re
import socket
import sqlite3

import pytest

import harness
import smtp


@pytest.fixture
def gateway(make_gateway):
    """A gateway that is not started."""
    return make_gateway(start=False)


def base(**more):
    return harness.settings(next_hop="127.0.0.1:2530", **more)


def refused(gateway, configuration, *words, commands=("check", "run")):
    """Each command must exit 1, and say `words` on stderr; nothing is made."""
    gateway.configure(configuration)
    text = None
    for command in commands:
        done = gateway.command(command, timeout=45)
        assert done.returncode == 1, f"{command}: exit {done.returncode}\n{done.stderr}"
        text = done.stderr
        for word in words:
            assert word in text, f"{command}: {word!r} is not in:\n{text}"
    assert not (gateway.folder / "state").exists() and not (gateway.folder / "run").exists(), "nothing was changed"
    return text


def line_of(gateway, needle):
    for number, line in enumerate(gateway.file.read_text().splitlines(), 1):
        if needle in line:
            return number
    raise AssertionError(needle)


def test_unknown_key_names_the_nearest(gateway):
    text = refused(gateway, dict(base(), acepted_domains=["x.test"]), "acepted_domains", "accepted_domains")
    assert f"postern.yaml:{line_of(gateway, 'acepted_domains')}" in text


def test_unknown_key_inside_a_list(gateway):
    configuration = base()
    configuration["listeners"][0]["adress"] = "127.0.0.1:25"
    text = refused(gateway, configuration, "adress", "address")
    assert f"postern.yaml:{line_of(gateway, 'adress')}" in text


@pytest.mark.parametrize("key,value", [("limits", {"connections": "many"}), ("limits", {"idle_time": "5 parsecs"}),
    ("limits", {"message_size": "-1"}), ("listeners", "inbound"), ("hostname", ["gw.good.test"]),
    ("authorities", {"system": "perhaps"}), ("delivery", {"retry": ["soon"]}), ("hostname", "not a host name!"),
    ("limits", {"connections": 10 ** 12})])
def test_wrong_type_or_value(gateway, key, value):
    text = refused(gateway, dict(base(), **{key: value}), key)
    line = line_of(gateway, (next(iter(value)) if isinstance(value, dict) else key) + ":")
    assert any(f"postern.yaml:{n}: " in text for n in (line, line + 1)), f"line {line} of the key, or that of its value:\n{text}"


def test_all_errors_in_one_run(gateway):
    configuration = base(limits={"connections": "many", "errors": 0}, hostnam="x")
    configuration["listeners"][0]["policy"] = "acepted"
    text = refused(gateway, configuration, "connections", "errors", "hostnam", "acepted", "accepted")
    assert len([line for line in text.splitlines() if "postern.yaml:" in line]) >= 4


def test_broken_yaml(gateway):
    text = refused(gateway, "hostname: gw.good.test\nlisteners: [\n", "postern.yaml")
    assert re.search(r"postern\.yaml:[23]", text)


def test_duplicate_key(gateway):
    gateway.configure(base())
    text = gateway.file.read_text() + "hostname: other.test\n"
    said = refused(gateway, text, "hostname")
    assert f"postern.yaml:{len(text.splitlines())}" in said


def test_missing_configuration_file(gateway):
    for command in ("check", "run"):
        done = harness.postern("-c", gateway.folder / "nowhere.yaml", command)
        assert done.returncode == 1
        assert "nowhere.yaml" in done.stderr and "Traceback" not in done.stderr


def test_missing_certificate_file(gateway):
    configuration = base()
    configuration["certificates"][0]["chain"] = "pki/nowhere.pem"
    text = refused(gateway, configuration, "pki/nowhere.pem", "chain")
    assert f"postern.yaml:{line_of(gateway, 'nowhere.pem')}" in text


def test_missing_authorities_file(gateway):
    refused(gateway, base(authorities={"system": False, "custom": "pki/none.pem"}), "pki/none.pem", "custom")


def test_key_that_does_not_fit(gateway):
    configuration = base()
    configuration["certificates"][0]["key"] = "pki/other.key"
    text = refused(gateway, configuration, "other.key", "certificates[main].key", "fit")
    assert "postern.yaml:" in text and "PRIVATE" not in text


def test_certificate_that_is_none(gateway):
    (gateway.folder / "pki/garbage.pem").write_text("this is no certificate\n")
    configuration = base()
    configuration["certificates"][0]["chain"] = "pki/garbage.pem"
    refused(gateway, configuration, "garbage.pem")


@pytest.mark.parametrize("level", ["preferred", "required"])
def test_tls_without_a_certificate(gateway, level):
    configuration = base(listener_tls=level)
    del configuration["listeners"][0]["certificate"]
    refused(gateway, configuration, "inbound", "certificate", level, "postern.yaml:")


def test_unknown_reference_names_the_nearest(gateway):
    configuration = base()
    configuration["listeners"][0]["certificate"] = "mian"
    refused(gateway, configuration, "mian", "main")


def test_open_relay(gateway):
    configuration = base(mail_flow_policies=[{"name": "accepted", "action": "relay"}])
    configuration["listeners"][0]["address"] = "0.0.0.0:2525"
    refused(gateway, configuration, "relay", "inbound", "postern.yaml:")


def test_accepted_domain_without_a_route(gateway):
    text = refused(gateway, base(accepted_domains=["good.test", "lost.test"]), "lost.test", "route")
    assert "postern.yaml:" in text


def test_next_hop_that_is_neither_address_nor_name(gateway):
    text = refused(gateway, base(routes=[{"domain": "good.test", "next_hop": "mx_good_test"}]), "next_hop", "host name")
    assert f"postern.yaml:{line_of(gateway, 'mx_good_test')}" in text


def test_key_of_a_later_version_is_not_called_a_typing_error(gateway):
    refused(gateway, dict(base(), mta_sts={"enabled": True}), "mta_sts", "not")


# What only `run` can find out


def test_port_in_use(gateway):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        configuration = base()
        configuration["listeners"][0]["address"] = address
        gateway.configure(configuration)
        assert gateway.command("check").returncode == 0, "check does not bind"
        done = gateway.command("run", timeout=45)
    assert done.returncode == 1
    assert address in done.stderr and "inbound" in done.stderr, done.stderr
    assert "in use" in done.stderr.lower()


def test_two_gateways_on_one_state_directory(make_gateway, sink):
    first = make_gateway(next_hop=sink.address)
    second = make_gateway(next_hop=sink.address, start=False)
    configuration = harness.settings(next_hop=sink.address, state_dir=str(first.folder / "state"))
    second.configure(configuration)
    done = second.command("run", timeout=45)
    assert done.returncode == 1
    assert str(first.folder / "state") in done.stderr, done.stderr
    assert first.status()
    smtp.submit(first.address(), "first@sender.test", "bob@good.test", harness.message())
    first.tracked("delivered", sender="first@sender.test")


def test_two_gateways_from_one_file(make_gateway, sink):
    first = make_gateway(next_hop=sink.address)
    done = first.command("run", timeout=45)
    assert done.returncode == 1
    assert first.status(), "the first one is still there"


def test_11_30_newer_schema(make_gateway, sink):
    gateway = make_gateway(next_hop=sink.address)
    gateway.stop()
    database = gateway.folder / "state/queue.db"
    with sqlite3.connect(database) as db:
        db.execute("PRAGMA user_version=99")
    db.close()
    before = database.read_bytes()
    done = gateway.command("run", timeout=45)
    assert done.returncode == 1, done.stderr
    assert "queue.db" in done.stderr and "99" in done.stderr, done.stderr
    assert database.read_bytes() == before, "nothing was changed"


def test_file_that_is_not_our_database(make_gateway, sink):
    gateway = make_gateway(next_hop=sink.address)
    gateway.stop()
    database = gateway.folder / "state/queue.db"
    for path in database.parent.glob("queue.db*"):
        path.unlink()
    with sqlite3.connect(database) as db:
        db.execute("CREATE TABLE somebody_else (x)")
    db.close()
    done = gateway.command("run", timeout=45)
    assert done.returncode == 1, done.stderr
    assert "queue.db" in done.stderr


def test_missing_user(gateway):
    import os
    if os.geteuid() != 0:
        pytest.skip("only root runs the roles as another user")
    gateway.configure(base(user="no-such-user"))
    done = gateway.command("run", timeout=45)
    assert done.returncode == 1
    assert "no-such-user" in done.stderr and "useradd" in done.stderr, done.stderr


@pytest.mark.parametrize("to,why", [("missing/gw.log", "No such file or directory"), ("./pki", "Is a directory"),
    ("pki/server.pem/gw.log", "Not a directory")])
def test_check_finds_a_log_that_run_could_not_open(gateway, to, why):
    refused(gateway, base(log={"to": to}), f"log.to: {gateway.folder}/{to} cannot be opened: {why}; make its directory",
        "postern.yaml:")


def test_check_makes_no_log(gateway):
    gateway.configure(base(log={"to": "pki/gw.log"}))
    assert gateway.command("check").returncode == 0
    assert not (gateway.folder / "pki/gw.log").exists()


def test_reload_lists_problems_as_check_does(make_gateway):
    gateway = make_gateway()
    gateway.configure(base(hostnam="x"))
    checked, reloaded = (json.loads(gateway.command(command, "--json").stdout) for command in ("check", "reload"))
    text = reloaded.pop("text")
    assert reloaded == checked and len(checked["problems"]) == 1 and "hostnam" in text and text.endswith("\n")
    gateway.configure(for_all())
    assert gateway.json("reload") == {"ok": True, "text": "generation 2 is in use\n", "problems": [], "warnings": []}


def test_state_directory_that_cannot_be_made(gateway):
    (gateway.folder / "state").write_text("a file, not a directory\n")
    gateway.configure(base())
    done = gateway.command("run", timeout=45)
    assert done.returncode == 1
    assert "state" in done.stderr
    assert (gateway.folder / "state").read_text() == "a file, not a directory\n"


# Commands


@pytest.mark.parametrize("arguments", [[], ["frobnicate"], ["status", "--frobnicate"], ["check", "extra"],
    ["track", "--mid", "x"], ["track", "--sender"], ["sink"], ["sink", "--listen"], ["-c"]])
def test_usage_errors_exit_2(gateway, arguments):
    gateway.configure(base())
    prefix = [] if arguments in (["-c"], []) else ["-c", gateway.file]
    done = harness.postern(*prefix, *arguments)
    assert done.returncode == 2, (done.returncode, done.stdout, done.stderr)
    assert done.stderr.strip()
    assert done.stdout == ""


@pytest.mark.parametrize("command", ["status", "stop", "reload"])
def test_without_a_gateway_exit_75(gateway, command):
    gateway.configure(base())
    done = gateway.command(command)
    assert done.returncode == 75, (done.returncode, done.stderr)
    assert "run" in done.stderr, done.stderr
    assert not (gateway.folder / "run").exists()


def for_all(**more):
    """A configuration without a warning: reports find their way, too."""
    routes = [{"domain": "good.test", "next_hop": "127.0.0.1:2530"}, {"domain": "default", "next_hop": "127.0.0.1:2531"}]
    return base(routes=routes, **more)


def test_check_says_that_all_is_well(gateway):
    gateway.configure(for_all())
    done = gateway.command("check")
    assert done.returncode == 0 and done.stdout.strip().endswith("is fine") and not done.stderr
    assert gateway.json("check") == {"ok": True, "problems": [], "warnings": []}


def warned(gateway, key, needle, *words):
    """`check` warns once, of `key` at the line of `needle`, in both forms; and the gateway may run: exit 0."""
    done = gateway.command("check")
    assert done.returncode == 0 and "is fine" in done.stdout, done
    (line,) = done.stderr.splitlines()
    found = re.fullmatch(rf"postern: warning: {gateway.file}:(\d+): {re.escape(key)}: \S.*", line)
    assert found and int(found[1]) - line_of(gateway, needle) in (0, 1), f"the line of the key, or that of its value: {line}"
    shown = gateway.json("check")
    assert shown["ok"] is True and shown["problems"] == []
    (warning,) = shown["warnings"]
    assert (warning["line"], warning["key"], warning["file"]) == (int(found[1]), key, str(gateway.file))
    for word in words:
        assert word in line and word in warning["text"], line


@pytest.mark.parametrize("mode,words", [(0o644, "everybody read"), (0o602, "everybody change"), (0o660, "its group change")],
    ids=["readable", "writable", "writable by the group"])
def test_check_warns_of_a_private_key_for_others(gateway, mode, words):
    gateway.configure(for_all())
    key = gateway.folder / "pki/server.key"
    key.chmod(mode)
    warned(gateway, "certificates[main].key", "server.key", words, str(key), "chmod")
    key.chmod(0o640)
    assert gateway.command("check").stderr == "", "a group may read it"


def test_check_warns_of_a_source_that_is_not_here(gateway):
    routes = [{"domain": "good.test", "next_hop": "127.0.0.1:2530", "source": ["192.0.2.77"]}]
    gateway.configure(base(routes=routes))
    warned(gateway, "routes[good.test].source", "source:", "192.0.2.77", "this machine")


FOR_REPORTS = {"domain": "default", "next_hop": "127.0.0.1:2531"}
LOGIN = {"username": "u", "password_file": "secret"}


@pytest.mark.parametrize("domain,logs_in,warns", [("good.test", "good.test", False), ("good.test", "other.test", True), ("good.test", None, True),
    ("default", "good.test", False), ("default", None, True), (".test", "good.test", False), (".test", None, True)])
def test_E41_check_warns_of_ocsp_where_no_server_is_verified(gateway, domain, logs_in, warns):
    (gateway.folder / "secret").write_text("p\n")
    (gateway.folder / "secret").chmod(0o600)
    routes = [{"domain": name, "next_hop": "gw.good.test:2530", **(LOGIN if name == logs_in else {})} for name in ("good.test", "other.test")]
    gateway.configure(base(routes=[*routes, FOR_REPORTS], tls_profiles=[{"name": "asking", "ocsp": "strict"}], destinations=[{"domain": domain, "tls_profile": "asking"}]))
    if warns:
        warned(gateway, f"destinations[{domain}].tls_profile", "tls_profile: asking", "`ocsp`", "`asking`", "no effect", "required-verify")
    else:
        assert gateway.command("check").stderr == ""


@pytest.mark.parametrize("level,warns", [("required", True), ("preferred-verify", False), ("required-verify", False), ("required-verify-hosted", False)])
@pytest.mark.parametrize("domain", ["good.test", ".test", "default"])
def test_E41_ocsp_has_an_effect_at_the_verifying_levels(gateway, domain, level, warns):
    gateway.configure(base(routes=[FOR_REPORTS], tls_profiles=[{"name": "asking", "ocsp": "strict"}], destinations=[{"domain": domain, "tls": level, "tls_profile": "asking"}]))
    assert gateway.command("check").stderr.count("no effect") == warns


def test_E41_check_warns_of_ocsp_on_a_listener(gateway):
    settings = for_all(tls_profiles=[{"name": "asking", "ocsp": "lenient"}])
    settings["listeners"][0]["tls_profile"] = "asking"
    gateway.configure(settings)
    warned(gateway, f"listeners[{settings['listeners'][0]['name']}].tls_profile", "tls_profile: asking", "`ocsp`", "no effect here yet")


@pytest.mark.parametrize("logs_in", [False, True])
def test_A62_check_warns_of_lists_where_no_server_is_verified(gateway, logs_in):
    (gateway.folder / "secret").write_text("p\n")
    (gateway.folder / "secret").chmod(0o600)
    crl = {"check": {"outbound_smtp": True}, "sources": [{"name": "ca", "primary": "http://127.0.0.1:9/ca.crl"}]}
    gateway.configure(base(crl_sources=crl, routes=[FOR_REPORTS, {"domain": "good.test", "next_hop": "gw.good.test:2530", **(LOGIN if logs_in else {})}]))
    if logs_in:
        assert gateway.command("check").stderr == ""
    else:
        warned(gateway, "crl_sources.check.outbound_smtp", "outbound_smtp:", "no effect", "required-verify")


@pytest.mark.parametrize("files,words", [(True, "the files that stand here count"), (False, "needs no entry, and which counts")])
def test_B14_check_warns_of_an_entry_called_demo(gateway, files, words):
    settings = for_all()
    entry = {"name": "demo", **({"chain": "pki/server.pem", "key": "pki/server.key"} if files else {})}
    settings["certificates"].append(entry)
    gateway.configure(settings)
    done = gateway.command("check")
    (line,) = [line for line in done.stderr.splitlines() if "certificates[demo].name" in line]
    assert done.returncode == 0 and "warning" in line and words in line and "choose another name" in line


def test_warnings_stand_behind_problems(gateway):
    (gateway.folder / "pki/server.key").chmod(0o644)
    gateway.configure(base(hostnam="x"))
    done = gateway.command("check")
    first, second = done.stderr.splitlines()
    assert done.returncode == 1 and done.stdout == ""
    assert "hostnam" in first and "warning" not in first and second.startswith("postern: warning: ") and "server.key" in second
    shown = json.loads(gateway.command("check", "--json").stdout)
    assert (shown["ok"], len(shown["problems"]), len(shown["warnings"])) == (False, 1, 1)


def test_warnings_do_not_stop_a_start_or_a_reload(gateway):
    (gateway.folder / "pki/server.key").chmod(0o644)
    gateway.configure(base())
    gateway.start()
    assert gateway.command("reload").returncode == 0


EXAMPLES = sorted(p.name for p in (harness.ROOT / "examples").glob("*.yaml"))
WAITING = ["tls.requiretls", "tls.mta_sts", "destination_settings.alert_on_required_tls_failure", "reports", "alerts"]  # of outbound.yaml


def prepare(gateway, example):
    gateway.configure((harness.ROOT / "examples" / example).read_text())
    (gateway.folder / "log").mkdir()  # as examples/README.md says, and the password
    (gateway.folder / "smart_host.password").touch(mode=0o600)
    (gateway.folder / "smart_host.password").write_text("correct horse battery\n")
    (gateway.folder / "dns").mkdir()
    (gateway.folder / "dns/ta.test").write_text(f"test. IN DS 12345 13 2 {'0f' * 32}\n")


@pytest.mark.parametrize("example", [e for e in EXAMPLES if e not in ("outbound.yaml", "defaults_security_gateway.yaml")])  # the latter: test_defaults.py
def test_the_examples_are_fine(gateway, example):
    prepare(gateway, example)
    done = gateway.command("check")
    assert done.returncode == 0 and done.stdout.strip().endswith("is fine") and not done.stderr, done


def test_the_example_of_outbound_tls_is_fine_but_for_keys_that_wait(gateway):
    prepare(gateway, "outbound.yaml")
    done = gateway.command("check", "--json")
    answer = json.loads(done.stdout)
    assert done.returncode == 0 and answer["ok"] and not answer["problems"], answer
    waiting = [w for w in answer["warnings"] if w["key"] != "dns.trust_anchor_file"]  # its anchor is for a zone of the test
    assert [w["key"] for w in waiting] == WAITING, answer
    assert all("no effect in this version yet" in w["text"] for w in waiting)


def test_version_and_help():
    for option in ("--version", "--help"):
        done = harness.postern(option)
        assert done.returncode == 0 and done.stdout.strip(), option


def test_config_show_round_trip(gateway):
    configuration = base(limits={"message_size": "100KiB", "idle_time": "90s"},
        sender_groups=[{"name": "ours", "networks": ["192.0.2.0/24", "2001:db8::/32"], "policy": "relayed"}],
        mail_flow_policies=[{"name": "accepted", "tls": "required"}, {"name": "relayed", "action": "relay"}])
    gateway.configure(configuration)
    first = gateway.command("config", "show")
    assert first.returncode == 0, first.stderr
    gateway.configure(first.stdout)
    assert gateway.command("check").returncode == 0, gateway.command("check").stderr
    second = gateway.command("config", "show")
    assert second.stdout == first.stdout
    shown = gateway.json("config", "show")
    assert shown["hostname"] == harness.HOSTNAME
    assert shown["mail_flow_policies"][0]["tls"] == "required"


def test_sink_with_a_port_in_use(pki, tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        done = harness.postern("sink", "--listen", address, "--certificate", pki.server, "--key", pki.key, "--dir",
            tmp_path)
    assert done.returncode == 1 and address in done.stderr, done.stderr


def test_sink_with_a_key_that_does_not_fit(pki, tmp_path):
    done = harness.postern("sink", "--listen", "127.0.0.1:0", "--certificate", pki.server, "--key", pki.other_key,
        "--dir", tmp_path)
    assert done.returncode == 1 and "key" in done.stderr, done.stderr
