"""What Postern, a sending Postfix and posttls-finger say about the cases of judges_cases.py, all asked once in a network of their own.

The first test of each case is the verdict of each judge; the others say which statements the cases of Postern prove.
"""

import json
import os
import subprocess
import sys

import pytest

import harness
import judges
import judges_cases
import judges_live
from judges_cases import CASES

NAMESPACES = ("--net", "--mount", "--pid", "--fork", "--mount-proc")


def can_unshare():
    return os.geteuid() == 0 and harness.run("unshare", *NAMESPACES, "true").returncode == 0


inside = pytest.mark.skipif(not can_unshare(), reason="needs namespaces (root)")


@pytest.fixture(scope="module")
def verdicts(tmp_path_factory):
    """{judge: {case: {level: {"verdict", "why"}}}}."""
    harness.make_user()
    file = tmp_path_factory.mktemp("judges") / "verdicts.json"
    done = subprocess.run([sys.executable, harness.ROOT / "tests/system/judges.py", file], stdin=subprocess.DEVNULL, capture_output=True, text=True,
        timeout=500, env=harness.environment())
    assert done.returncode == 0, done.stdout + done.stderr
    return json.loads(file.read_text())


@inside
@pytest.mark.parametrize("judge", ["postern", "postfix", "finger"])
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_a_judge_says_what_is_expected(verdicts, judge, case):
    """Differences from what we want are named in judges_cases.DIFFERENCES."""
    expected = judges_cases.expected(judge, case)
    got = {level: verdicts[judge][case.name].get(level, {"verdict": "nothing", "why": ""}) for level in expected}
    assert {level: one["verdict"] for level, one in got.items()} == expected, json.dumps(got, indent=1)


def holds(verdicts, names):
    """Postern's verdicts on these cases are the wanted ones, at every level."""
    names = names.split()
    cases = [case for case in CASES if case.name in names]
    assert len(cases) == len(names), "each case exists"
    for case in cases:
        test_a_judge_says_what_is_expected(verdicts, "postern", case)


@inside
def test_3_01_B65_B75_B76_usable_records_make_tls_and_the_certificate_mandatory(verdicts):
    holds(verdicts, "ee-311 ee-311-nsec3 ee-311-exim ee-mismatch ee-301-mismatch ee-mismatch-exim ee-mismatch-nsec3 ee-mismatch-trusted "
        "ee-no-starttls ee-refused ee-broken ee-helo")


@inside
def test_3_02_unusable_records_make_tls_mandatory_for_whoever_answers(verdicts):
    holds(verdicts, "pkix-ee pkix-ta short no-data unusable-no-starttls")


@inside
def test_3_03_B76_without_secure_records_dane_does_not_apply(verdicts):
    holds(verdicts, "no-tlsa no-tlsa-nsec3 insecure insecure-wrong tlsa-alias-insecure no-starttls refused")


@inside
def test_3_04_a_failed_lookup_is_never_no_record(verdicts):
    holds(verdicts, "bogus-tlsa bogus-tlsa-then-plain tlsa-loop")


@inside
def test_3_05_a_bogus_mx_defers_all_and_a_bogus_host_only_itself(verdicts):
    holds(verdicts, "bogus expired bogus-host bogus-host-then-good")


@inside
def test_3_06_an_unsigned_host_has_no_dane(verdicts):
    holds(verdicts, "insecure-host")


@inside
def test_3_08_a_signed_host_of_an_unsigned_domain_is_checked_and_never_called_verified(verdicts):
    holds(verdicts, "insecure-mx insecure-mx-wrong")


@inside
def test_3_09_the_domain_itself_where_there_is_securely_no_mx(verdicts):
    holds(verdicts, "implicit implicit-wrong implicit-nsec3 implicit-insecure")


@inside
def test_3_13_sixty_records_come_by_tcp(verdicts):
    holds(verdicts, "ee-sixty")


@inside
def test_3_14_a_record_of_three_bytes(verdicts):
    holds(verdicts, "no-data")


@inside
def test_3_15_the_name_behind_an_alias_comes_first(verdicts):
    holds(verdicts, "alias alias-original alias-both alias-error alias-ta")


@inside
def test_3_16_a_signed_alias_of_an_unsigned_name(verdicts):
    holds(verdicts, "alias-to-insecure alias-to-insecure-wrong insecure-alias")


@inside
def test_3_18_records_behind_an_alias(verdicts):
    holds(verdicts, "tlsa-alias tlsa-alias-insecure bogus-tlsa tlsa-wildcard tlsa-wildcard-nsec3")


@inside
def test_3_19_a_mail_domain_that_is_an_alias(verdicts):
    holds(verdicts, "domain-alias domain-alias-name")


@inside
def test_3_20_B69_usages_0_and_1_are_of_no_use(verdicts):
    holds(verdicts, "pkix-ee pkix-ta pkix-ee-wrong pkix-and-ee pkix-and-wrong")


@inside
def test_3_21_3_22_B70_what_nobody_can_use_does_not_count(verdicts):
    holds(verdicts, "short long short-and-right short-and-wrong usage-4 selector-2 matching-3 matching-255 garbage")


@inside
def test_3_23_B68_the_key_alone_counts_for_usage_3(verdicts):
    holds(verdicts, "ee-301 ee-312 ee-302 ee-310 ee-300 ee-self-signed ee-expired ee-other-name ee-client-usage "
        "ee-ed25519 ee-rsa-4096 ee-rsa-1024 ee-sha1 ee-bound")


@inside
def test_3_24_B68_the_authority_must_be_sent_or_be_in_the_dns(verdicts):
    holds(verdicts, "ta-201 ta-201-exim ta-201-not-sent ta-211 ta-212 ta-200-not-sent ta-210-not-sent ta-middle ta-middle-key "
        "ta-root-of-three ta-hole ta-other")


@inside
def test_3_25_everything_of_a_chain_counts_for_usage_2(verdicts):
    holds(verdicts, "ta-other-name ta-expired ta-not-yet ta-late ta-client-usage ta-ended ta-deep ta-fake ta-bound ta-sha1 ta-late-or-ee")


@inside
def test_3_26_the_servers_own_key_is_no_authority(verdicts):
    holds(verdicts, "ta-of-leaf")


@inside
def test_3_27_records_are_alternatives(verdicts):
    holds(verdicts, "ee-or-ta roll-over")


@inside
def test_3_28_only_the_strongest_digest_counts(verdicts):
    holds(verdicts, "agility agility-full agility-selectors agility-strong")


@inside
def test_3_29_B71_names_that_usage_2_takes(verdicts):
    holds(verdicts, "ta-domain-name domain-alias domain-alias-name alias-ta ta-wildcard ta-other-name ta-upper-case")


@inside
def test_3_30_the_cn_never_counts_for_usage_2(verdicts):
    holds(verdicts, "ta-cn-only ta-cn-beside-san ta-wildcard")


@inside
def test_3_31_padded_chains(verdicts):
    holds(verdicts, "ta-padded")


@inside
def test_3_33_3_34_another_host_may_do_better(verdicts):
    holds(verdicts, "second-right second-plain both-wrong")


@inside
def test_2_01_records_do_not_change_the_order_of_hosts(verdicts):
    holds(verdicts, "first-plain")


@inside
def test_2_18_the_host_is_named_in_the_handshake(verdicts):
    holds(verdicts, "sni")


@inside
def test_B41_B42_B43_nothing_in_clear_after_the_220_nor_where_tls_is_required(verdicts):
    holds(verdicts, "broken no-starttls refused helo")


@inside
def test_B44_B45_B46_B49_B50_names_that_the_verifying_levels_take(verdicts):
    holds(verdicts, "names-both names-both-exim names-host names-domain names-other names-cn-host names-cn-domain names-cn-beside-san")


@inside
def test_B51_wildcards(verdicts):
    holds(verdicts, "names-wildcard-host names-wildcard-domain names-wildcard-two names-partial-wildcard names-below-domain")


@inside
def test_3_35_B48_old_protocols_suites_without_certificates_and_weak_signatures(verdicts):
    holds(verdicts, "old-tls anonymous chain-sha1 chain-rsa-1024")


@inside
def test_B46_chains_that_the_verifying_levels_take(verdicts):
    holds(verdicts, "chain-middle chain-hole chain-private chain-self chain-expired chain-not-yet chain-client-usage "
        "chain-bound chain-ed25519")


@inside
@pytest.mark.parametrize("judge", ["postern", "postfix", "finger"])
def test_3_03_3_27_3_36_all_follow_records_that_change(verdicts, judge):
    got = [{level: one["verdict"] for level, one in phase.items()} for phase in verdicts["live"][judge]]
    assert got == judges_live.expected(judge), json.dumps(verdicts["live"][judge], indent=1)


@inside
def test_B79_dane_verify_says_what_becomes_of_mail(verdicts):
    """Asked of the gateway with mandatory DANE, about every fourth domain."""
    assert len(verdicts["commands"]) > len(CASES) / 5
    for name, said in verdicts["commands"].items():
        case = next(case for case in CASES if case.name == name)
        verified = case.wanted()["dane-only"] == "verified"
        assert (said["code"] == 0) == verified and said["code"] in (0, 1, 75), said["why"]
        assert said["last"] == [f"DANE {'SUCCESS' if verified else 'FAILED'} for {case.domain}"], said["why"]


@pytest.mark.hygiene
def test_the_cases_are_well_formed():
    assert len({case.domain for case in CASES}) == len(CASES) >= 60
    for (judge, name), (kind, other) in judges_cases.DIFFERENCES.items():
        case = next(case for case in CASES if case.name == name)
        assert kind in judges_cases.KINDS and judge in ("postfix", "finger")
        assert all(case.wanted()[level] != verdict for level, verdict in other.items()), name


@pytest.mark.hygiene
def test_differences_are_decisions():
    decisions = " ".join((harness.ROOT / "docs/decisions.md").read_text().split())
    missing = [kind for kind, words in judges_cases.KINDS.items() if words not in decisions]
    assert not missing, "docs/decisions.md has the words of each kind of difference"


@pytest.mark.hygiene
def test_the_page_of_the_judges_is_current():
    """It was made from a run; what a run must say is known. Only the versions may be others."""
    results = {judge: {case.name: {level: {"verdict": word} for level, word in judges_cases.expected(judge, case).items()} for case in CASES}
        for judge in ("postern", "postfix", "finger")}
    results["live"] = {judge: [{level: {"verdict": word} for level, word in one.items()} for one in judges_live.expected(judge)] for judge in results}

    def lines(text):
        return [line for line in text.splitlines() if not line.startswith("Asked were ")]
    assert lines(judges.page({"versions": {}, **results})) == lines((harness.ROOT / "docs/judges.md").read_text()), "docs/judges.md"
