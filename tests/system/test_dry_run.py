"""`postern policy dry-run`: what other entries would have made of mail that was sent; and that they do so when they are in force."""

import json

import pytest

import harness
import smtp

DOMAINS = {"gw.good.test": "good", "other.test": "good", "clear.test": "absent"}


@pytest.fixture
def past(make_gateway, make_peer):
    """One delivery to each domain, at `preferred`: two servers with TLS, whose certificate is for gw.good.test, and one without."""
    peers = {domain: make_peer(starttls=starttls) for domain, starttls in DOMAINS.items()}
    options = {"accepted_domains": list(DOMAINS), "routes": [{"domain": d, "next_hop": p.address} for d, p in peers.items()],
        "destinations": [{"domain": "default", "tls": "preferred", "dane": "none"}], "delivery": {"retry": ["1h"]}}
    gateway = make_gateway(**options)
    gateway.options = options
    for domain in DOMAINS:
        smtp.submit(gateway.address(), "a@sender.test", f"b@{domain}", harness.message())
    gateway.tracked("delivered", count=3, since="1h")
    return gateway


def dry_run(gateway, tried, *arguments):
    """(exit status, result) with the sections `tried`."""
    file = gateway.folder / "tried.yaml"
    file.write_text(tried if isinstance(tried, str) else harness.to_yaml(tried) + "\n")
    done = gateway.command("policy", "dry-run", "--since", "7d", "--destinations", str(file), *arguments, "--json")
    return done.returncode, json.loads(done.stdout) if done.stdout else done.stderr


VERIFY = {"destinations": [{"domain": "default", "tls": "preferred", "dane": "none"}, {"domain": ".good.test", "tls": "required-verify", "dane": "none"},
    {"domain": "other.test", "tls": "required-verify", "dane": "none"}, {"domain": "clear.test", "tls": "required", "dane": "none"}]}


def test_which_domains_would_have_been_deferred_and_are_then(past):
    status, result = dry_run(past, VERIFY)
    rows = {row["domain"]: row for row in result["domains"]}
    assert status == 1 and (result["deliveries"], result["lost"], result["gained"], result["unknown"], result["without_facts"]) == (3, 2, 0, 0, 0), result
    assert rows["gw.good.test"]["then"] == {"encrypted": 1} and rows["gw.good.test"]["now"] == {"verified": 1}
    assert rows["other.test"]["then"] == {"encrypted": 1} and rows["other.test"]["now"] == {"nothing": 1}
    assert rows["clear.test"]["then"] == {"clear": 1} and rows["clear.test"]["now"] == {"nothing": 1}
    assert "STARTTLS" in rows["clear.test"]["reasons"][0]["reason"]
    assert [row["domain"] for row in result["domains"]][2] == "gw.good.test", "those that lose come first"

    past.configure(harness.settings(**{**past.options, **VERIFY}))
    assert past.command("reload").returncode == 0
    for domain in DOMAINS:
        smtp.submit(past.address(), "again@sender.test", f"b@{domain}", harness.message())
    for domain, row in rows.items():
        past.tracked("deferred" if row["lost"] else "delivered", sender="again@sender.test", domain=domain)

    # And back: the deferred ones would be sent by the entries of before, as far as it is known.
    status, result = dry_run(past, {"destinations": past.options["destinations"]})
    assert status == 0 and (result["gained"], result["lost"], result["unknown"]) == (2, 0, 0), result


def test_without_a_gateway_and_for_people(past):
    before = dry_run(past, VERIFY)
    past.stop()
    assert dry_run(past, VERIFY) == before
    done = past.command("policy", "dry-run", "--destinations", str(past.folder / "tried.yaml"))
    assert done.returncode == 1
    for words in ("clear.test: 1 attempts, 1 of them would have been deferred", "was 1 clear; would be 1 nothing", "1 would be nothing: ",
            "3 attempts: 2 would have been deferred"):
        assert words in done.stdout, done.stdout


def test_records_that_cannot_be_read_give_no_figures(past):
    """A part of the truth is none, and 1 says that mail would have waited."""
    past.stop()
    for path in (past.folder / "state").glob("*.db"):
        data = path.read_bytes()
        path.write_bytes(data[:2 * 8192] + b"\xff" * (len(data) - 2 * 8192))
    status, said = dry_run(past, VERIFY)
    assert status == 75 and "tracking records cannot be read" in said, (status, said)


def test_unknown_is_said_and_not_guessed(past):
    status, result = dry_run(past, {"destinations": [{"domain": "default", "tls": "preferred", "dane": "opportunistic"}]})
    assert status == 0 and result["unknown"] == 0, "the servers were named by address: there is nothing to look up"
    status, result = dry_run(past, {"tls": {"cn_fallback": True}, **VERIFY})
    rows = {row["domain"]: row["now"] for row in result["domains"]}
    assert rows == {"gw.good.test": {"unknown": 1}, "other.test": {"unknown": 1}, "clear.test": {"nothing": 1}}, "other rules for names"


def test_lists_and_nothing_that_changes(past):
    same = dry_run(past, {"destinations": past.options["destinations"]})
    assert same == dry_run(past, past.file.read_text())
    done = past.command("policy", "dry-run", "--since", "7d", "--destinations", str(past.file), "--json")
    assert (done.returncode, json.loads(done.stdout)) == same, done.stderr
    status, result = dry_run(past, {"tls": {"starttls_never": ["127.0.0.0/8"]}})
    assert status == 0 and all(row["now"] == {"clear": 1} for row in result["domains"])
    status, result = dry_run(past, {"tls": {"starttls_never": ["127.0.0.0/8"]}, "destinations": [{"domain": "clear.test", "tls": "required", "dane": "none"}]})
    row, = [row for row in result["domains"] if row["domain"] == "clear.test"]
    assert row["reasons"][0]["reason"] == "TLS is required for this destination, but the host is listed in tls.starttls_never", row
    status, result = dry_run(past, {"tls": {"starttls_required": ["clear.test"]}})
    assert status == 1 and result["lost"] == 1


def test_what_is_wrong_is_said_with_the_line_of_the_file(past):
    status, error = dry_run(past, "# tried\ndestinations:\n  - domain: default\n    tls: sometimes\n")
    assert status == 2 and "tried.yaml:4: " in error and "sometimes" in error
    for text in ("# tried\ndestinations: [\n", "destinations:\n  - {domain: a.test, tls: required\n",
            "tls: {}\ndestinations:\n  - domain: 'a\n", "destinations:\n - a\n  - b: c\n"):
        status, error = dry_run(past, text)
        assert status == 2 and "not YAML" in error and "tried.yaml:" in error and past.file.name not in error, error
    for authorities in ("nowhere.pem", str(past.file)):
        status, error = dry_run(past, {"destinations": [{"domain": "a.test", "tls": "required-verify", "authorities": {"custom": authorities}}]})
        assert status == 2 and "tried.yaml:" in error and authorities in error, error
    status, error = dry_run(past, "hostname: x\n")
    assert status == 2 and "neither `destinations:` nor `tls:`" in error
    missing = past.command("policy", "dry-run", "--destinations", "/nowhere/x.yaml")
    assert missing.returncode == 2 and "/nowhere/x.yaml" in missing.stderr
    for arguments in ([], ["dry-run"], ["dry-run", "--destinations", "x", "--since", "soon"]):
        assert past.command("policy", *arguments).returncode == 2
    assert "--destinations" in past.command("policy", "dry-run", "--help").stdout
