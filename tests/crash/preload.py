"""How a program is run under the shim."""

import subprocess


def shim(tools):
    """The shim, behind the sanitizer's runtime when the build needs it."""
    if b"libasan.so" not in (tools / "crash_load").read_bytes():
        return str(tools / "shim.so")
    runtime = subprocess.run(["gcc", "-print-file-name=libasan.so"], capture_output=True, text=True, check=True).stdout
    return f"{runtime.strip()} {tools / 'shim.so'}"
