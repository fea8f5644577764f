"""Fixtures of the system tests. Run them with `make test`, or one file with:

    /usr/bin/python3 -m pytest -p no:cacheprovider tests/system/test_smoke.py

POSTERN names the binary (default build/asan/postern).
"""

import contextlib
import pathlib
import shutil
import sys

import pytest

sys.path.insert(0, str(pathlib.Path(__file__).parent))
sys.dont_write_bytecode = True

import harness  # noqa: E402
import peer as scripted  # noqa: E402


def pytest_configure(config):
    config.addinivalue_line("markers", "smoke: the main way of a mail; part of `make check`")
    config.addinivalue_line("markers", "hygiene: rules of the source tree; part of `make check`")


@pytest.hookimpl(tryfirst=True, hookwrapper=True)
def pytest_runtest_makereport(item, call):
    outcome = yield
    setattr(item, "report_" + call.when, outcome.get_result())


@pytest.fixture(scope="session")
def pki():
    folder = harness.make_folder()
    harness.make_user()
    assert harness.BINARY.exists(), f"{harness.BINARY} does not exist: run `make check`, or set POSTERN"
    yield harness.Pki(folder / "pki")
    shutil.rmtree(folder, ignore_errors=True)


def show(name, gateway):
    text = gateway.stderr()
    if text:
        print(f"---- {name} ({gateway.folder})\n{text[-6000:]}")


@pytest.fixture
def make_gateway(request, pki):
    """make_gateway(next_hop=..., ...) -> a started Gateway; arguments as harness.settings(). It is stopped (and must
    end well) after the test, and its log is shown when the test fails."""
    made = []

    def make(configuration=None, start=True, **options):
        gateway = harness.Gateway(pki, configuration if configuration is not None else harness.settings(**options))
        made.append(gateway)
        return gateway.start() if start else gateway

    yield make
    failed = getattr(request.node, "report_call", None)
    failed = failed is None or failed.failed
    problem = None
    for number, gateway in enumerate(made):
        try:
            gateway.stop()
        except AssertionError as e:
            problem = problem or e
        if failed or problem:
            show(f"gateway {number}", gateway)
        gateway.discard()
    if problem and not failed:
        raise problem


@pytest.fixture
def make_sink(pki):
    with contextlib.ExitStack() as stack:
        yield lambda *more: stack.enter_context(harness.Sink(pki, *more))


@pytest.fixture
def sink(make_sink):
    return make_sink()


@pytest.fixture
def make_peer(pki):
    """make_peer(starttls=..., ...) -> a scripted SMTP server (peer.Peer)."""
    with contextlib.ExitStack() as stack:
        yield lambda **options: stack.enter_context(scripted.Peer(**{"pki": pki, **options}))


@pytest.fixture
def make_wiretap():
    """make_wiretap((host, port of a server), ...) -> what stands between (peer.Wiretap)."""
    made = []

    def make(*arguments):
        made.append(scripted.Wiretap(*arguments))
        return made[-1]

    yield make
    for tap in made:
        tap.close()


@pytest.fixture
def gateway(make_gateway, sink):
    """A gateway with the smallest useful configuration in front of a sink."""
    return make_gateway(next_hop=sink.address)
