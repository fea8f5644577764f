"""What posttls-finger and a sending Postfix say about the cases of judges_cases.py, all asked once in a network of their own."""

import json
import os
import subprocess
import sys

import pytest

import harness
import judges_cases
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
        timeout=300, env=harness.environment())
    assert done.returncode == 0, done.stdout + done.stderr
    return json.loads(file.read_text())


@inside
@pytest.mark.parametrize("judge", ["postfix", "finger"])
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_a_judge_says_what_is_expected(verdicts, judge, case):
    """Differences from what we want are named in judges_cases.DIFFERENCES."""
    expected = judges_cases.expected(judge, case)
    got = {level: verdicts[judge][case.name].get(level, {"verdict": "nothing", "why": ""}) for level in expected}
    assert {level: one["verdict"] for level, one in got.items()} == expected, json.dumps(got, indent=1)


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
