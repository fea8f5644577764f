"""Faults of the storage while a gateway runs: calls on files that fail or take long (tests/crash/fault_shim.c)."""

import errno
import os
import shutil
import subprocess

import pytest

import harness


def runtime():
    """The sanitizer's runtime, which must be loaded before the shim; empty for a build without."""
    binary = harness.BINARY.read_bytes()
    if b"libasan.so" not in binary:
        return ""
    return subprocess.run(["gcc", "-print-file-name=libasan.so"], capture_output=True, text=True, check=True).stdout.strip()


class Faults:
    """The rules for one gateway, to be made before it starts. fail() and wait() add one; clear() ends them all."""

    def __init__(self, gateway):
        if not runtime():
            pytest.skip("only sanitized builds hand LD_PRELOAD to the roles")
        self.folder = gateway.folder / "shim"
        self.folder.mkdir()
        self.folder.chmod(0o755)
        self.hits_file = self.folder / "hits"
        self.hits_file.touch()
        self.hits_file.chmod(0o666)
        shim = self.folder / "fault_shim.so"
        shutil.copy(harness.BINARY.parent / "tests/crash/fault_shim.so", shim)
        gateway.variables["LD_PRELOAD"] = f"{runtime()} {shim}"
        self.rules = []

    def set(self, rules):
        """Use these rules from now on, and forget what happened."""
        self.rules = list(rules)
        new = self.folder / "new"
        new.write_text("".join(rule + "\n" for rule in self.rules))
        new.chmod(0o644)
        self.hits_file.write_text("")
        os.rename(new, self.folder / "faults")

    def fail(self, role, call, path, error, times=""):
        """Calls of `role` on files with `path` in their name fail with the errno of this name."""
        self.set([*self.rules, f"{role} {call} {path} {getattr(errno, error)} {times}"])

    def wait(self, role, call, path, milliseconds):
        self.set([*self.rules, f"{role} {call} {path} {milliseconds * 1000}us"])

    def clear(self):
        self.set([])

    def hits(self):
        """Lines ROLE CALL WHAT PATH, one for each time that a rule was obeyed since set()."""
        return self.hits_file.read_text().splitlines()
