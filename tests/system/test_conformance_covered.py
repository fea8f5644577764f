"""Each conformance statement has a test, and docs/conformance.md says which."""

import shutil

import pytest

import harness

COVERED = harness.ROOT / "tools/covered"


@pytest.fixture
def copy(tmp_path):
    """A copy of what the tool looks at."""
    for name in ("tests/unit", "tests/system"):
        shutil.copytree(harness.ROOT / name, tmp_path / name, ignore=shutil.ignore_patterns("__pycache__"))
    (tmp_path / "tools").mkdir()
    (tmp_path / "docs").mkdir()
    shutil.copy(harness.ROOT / "tools/conformance.txt", tmp_path / "tools")
    return tmp_path


@pytest.mark.hygiene
def test_the_page_of_conformance_is_current(copy):
    assert harness.run(COVERED, "--markdown", copy).returncode == 0
    assert (copy / "docs/conformance.md").read_text() == (harness.ROOT / "docs/conformance.md").read_text(), "tools/covered --markdown"


@pytest.mark.hygiene
def test_an_id_without_a_test_is_found(copy):
    before = harness.run(COVERED, copy)
    with open(copy / "tools/conformance.txt", "a") as f:
        f.write("99.99  Nobody tests this.\n99.98 later  Nor this.\n      ! nobody will\n")
    after = harness.run(COVERED, copy)
    assert after.returncode == 1 and "99.99 has no test: Nobody tests this." in after.stdout
    assert "99.98 has no test" not in after.stdout and "99.98" in after.stdout
    with open(copy / "tests/system/test_new.py", "w") as f:
        f.write("def test_99_99_now_it_has_one():\n    pass\n")
    assert "99.99 has no test" not in harness.run(COVERED, copy).stdout
    assert before.returncode == harness.run(COVERED, copy).returncode


@pytest.mark.hygiene
@pytest.mark.parametrize("line", ["1.01  Twice.", "1.1  Not an id.", "99.98 later  Without a reason."])
def test_a_broken_table_is_refused(copy, line):
    with open(copy / "tools/conformance.txt", "a") as f:
        f.write(line + "\n")
    done = harness.run(COVERED, copy)
    assert done.returncode == 1 and "conformance.txt" in done.stderr, done
