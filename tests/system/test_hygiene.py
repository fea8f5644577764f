"""The rules of the source tree hold, and each script that checks them notices a planted violation."""

import re
import shutil

import pytest

import harness

pytestmark = pytest.mark.hygiene

TOOLS = ["check-layers", "check-prefix", "check-banned", "check-events", "format-check"]

# script -> [(file, text to append, what it must say)]
PLANTED = {
    "check-layers": [
        ("src/base/text.c", '#include "wire/address.h"\n', "base may not include wire"),
        ("src/wire/address.c", '#include "ipc/frame.h"\n', "wire and ipc stand side by side"),
        ("src/base/text.h", '#include "clock.h"\n', "names no room"),
        ("src/queue/schedule.c", '  #  include "session/smtp.h"\n', "queue may not include session"),
        ("src/base/text.c", '#include "nowhere/x.h"\n', "there is no room `nowhere`"),
    ],
    "check-prefix": [
        ("src/base/text.h", "int other_name(struct text t);\n", "`other_name()` must be called `text_...`"),
        ("src/base/text.h", "struct text\n\ttxt_trim(\n\tstruct text t);\n", "`txt_trim()`"),
        ("src/base/text.h", "static inline int helper(void)\n{\n\treturn 0;\n}\n", "`helper()`"),
        ("src/base/text.h", "void *forgotten(void) __attribute__((malloc));\n", "`forgotten()`"),
    ],
    "check-banned": [
        ("src/base/text.c", "const char *bad(int e)\n{\n\treturn strerror(e);\n}\n", "`strerror` is banned"),
        ("src/base/text.c", "int x = sizeof(getaddrinfo);\n", "`getaddrinfo` is banned"),
        ("src/wire/address.c", "#include <openssl/evp.h>\n", "<openssl/evp.h> belongs to net, pki and base/digest"),
        ("src/base/clock.c", "struct tm *t(time_t *x)\n{\n\treturn localtime(x);\n}\n", "`localtime` is banned"),
        ("src/base/text.c", "\n" * 601, "lines, 600 are allowed"),
    ],
    "check-events": [
        ("src/base/text.c", 'void f(void)\n{\n\tlog_event(LOG_INFO, "unheard_of", log_num("n", 1));\n}\n', "unheard_of"),
    ],
    "format-check": [
        ("src/base/text.c", "int   badly_formatted( void );\n", "src/base/text.c"),
        ("tests/unit/test_text.c", "int   badly_formatted( void );\n", "tests/unit/test_text.c"),
    ],
}

# Lines that look like a violation and are none.
INNOCENT = {
    "check-layers": [("src/base/text.c", '/* #include "wire/address.h" */\n')],
    "check-prefix": [("src/base/text.h", "#define ANY_MACRO(x) \\\n\tother(x)\nstruct other;\n/* int other(void); */\n")],
    "check-banned": [("src/base/text.c", '/* strcpy() */ // sprintf()\nconst char *const s = "strcat()";\nint my_strcpy;\n'),
        ("src/base/digest.c", "#include <openssl/sha.h>\n")],
    "check-events": [("src/base/text.c", '/* log_event(LOG_INFO, "unheard_of", log_num("n", 1)); */\n')],
    "format-check": [],
}


@pytest.fixture
def copy(tmp_path):
    """A copy of what the scripts look at."""
    for name in ("src", "docs", "tests/unit"):
        shutil.copytree(harness.ROOT / name, tmp_path / name)
    shutil.copy(harness.ROOT / ".clang-format", tmp_path)
    return tmp_path


def append(top, file, text):
    with open(top / file, "a") as f:
        f.write(text)


@pytest.mark.parametrize("tool", TOOLS)
def test_the_tree_passes(tool):
    done = harness.run(harness.ROOT / "tools" / tool)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("tool,file,text,words", [(t, *row) for t, rows in PLANTED.items() for row in rows])
def test_a_planted_violation_is_found(copy, tool, file, text, words):
    append(copy, file, text)
    done = harness.run(harness.ROOT / "tools" / tool, copy)
    said = done.stdout + done.stderr
    assert done.returncode == 1, said
    assert words in said, said
    assert re.search(rf"^{re.escape(file)}:\d+:", said, re.M), said


@pytest.mark.parametrize("tool,file,text", [(t, *row) for t, rows in INNOCENT.items() for row in rows])
def test_an_innocent_line_passes(copy, tool, file, text):
    before = harness.run(harness.ROOT / "tools" / tool, copy)
    append(copy, file, text)
    after = harness.run(harness.ROOT / "tools" / tool, copy)
    assert (after.returncode, after.stdout) == (before.returncode, before.stdout)


def test_scripts_parse():
    scripts = [p for folder in ("tools", ".ci") for p in (harness.ROOT / folder).iterdir() if p.is_file()]
    for script in scripts:
        first = script.read_text().split("\n")[0]
        if "bash" in first:
            done = harness.run("bash", "-n", script)
        elif "python3" in first:
            done = harness.run("/usr/bin/python3", "-c", "import ast, sys; ast.parse(open(sys.argv[1]).read())", script)
        else:
            continue
        assert done.returncode == 0, done.stderr


def test_no_path_of_a_developers_machine():
    pattern = re.compile(r"(?<![\w.])/(?:work|home|root)/\w")
    files = [p for name in ("src", "tools", "docs", ".ci", "examples", "tests") for p in (harness.ROOT / name).rglob("*")
        if p.is_file() and "corpus" not in p.parts and "__pycache__" not in p.parts]
    for path in files:
        found = pattern.search(path.read_text(errors="replace"))
        assert not found, f"{path}: {found.group(0)}"


def test_no_marks_of_a_merge():
    """A compiler finds them, and nobody reads docs/decisions.md all the time."""
    marks = re.compile(r"^(?:<{7} |>{7} )", re.M)
    for folder in ("src", "docs", "tests", "tools", "examples", "bench"):
        for path in (harness.ROOT / folder).rglob("*"):
            if path.suffix in (".c", ".h", ".py", ".md", ".txt", ".yaml", ".build", ""):
                assert not path.is_file() or not marks.search(path.read_bytes()[:1 << 20].decode("latin-1")), path


def test_the_manual_of_all_keys_is_current():
    done = harness.postern("config", "manual")
    assert done.returncode == 0
    assert done.stdout == (harness.ROOT / "docs/configuration.md").read_text(), "postern config manual > docs/configuration.md"
