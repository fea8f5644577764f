"""Debian packages of servers that cannot be installed next to Postfix, or would start by themselves: fetched once, unpacked below build/."""

import pwd
import subprocess

import harness


def package(name, folder):
    """The folder that holds what Debian's package `name` would install; fetched when it is not there."""
    cache = harness.ROOT / "build" / folder
    if not (cache / "usr").exists():
        cache.mkdir(parents=True, exist_ok=True)
        for step in (["apt-get", "-q", "download", name], ["bash", "-c", f"dpkg -x {name}_*.deb ."]):
            done = subprocess.run(step, cwd=cache, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=120,
                env=harness.environment())
            assert done.returncode == 0, f"{name} could not be fetched: {done.stderr}"
    return cache


def account(name):
    """The account that a package's maintainer scripts would have made."""
    try:
        return pwd.getpwnam(name)
    except KeyError:
        subprocess.run(["/usr/sbin/useradd", "--system", "--no-create-home", "--shell", "/usr/sbin/nologin", name], check=True)
        return pwd.getpwnam(name)
