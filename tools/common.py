"""What the check-* scripts share: the source files of a tree, C text without comments and strings, and how to report."""

import pathlib
import re
import sys

ROOT = pathlib.Path(__file__).resolve().parent.parent

_TOKEN = re.compile(r'//[^\n]*|/\*.*?\*/|"(?:\\.|[^"\\\n])*"|\'(?:\\.|[^\'\\\n])*\'', re.S)


def root():
    """The tree to look at: the first argument, or the one this script lies in."""
    return pathlib.Path(sys.argv[1]).resolve() if len(sys.argv) > 1 else ROOT


def sources(top, *suffixes):
    """Files below src/ with one of the suffixes, sorted."""
    return sorted(p for p in (top / "src").rglob("*") if p.suffix in suffixes and p.is_file())


def bare(text, keep_strings=False):
    """C text of the same length and lines, with comments (and the inside of literals) blanked out."""

    def blank(match):
        token = match.group(0)
        if token[0] in "\"'":
            return token if keep_strings else token[0] + " " * (len(token) - 2) + token[-1]
        return re.sub(r"[^\n]", " ", token)

    return _TOKEN.sub(blank, text)


def line_of(text, position):
    return text.count("\n", 0, position) + 1


def finish(name, top, problems):
    """Print `problems`, (path, line, sentence) each, and end with 1 when there are any."""
    for path, line, sentence in sorted(problems):
        print(f"{path.relative_to(top)}:{line}: {sentence}")
    if problems:
        print(f"{name}: {len(problems)} problem{'s' if len(problems) > 1 else ''}")
    sys.exit(1 if problems else 0)
