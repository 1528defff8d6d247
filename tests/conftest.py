"""What every test may lean on: the shared real data, and the rule that a skip in CI is a failure.

Owns no fixture of a single room; those stay beside their tests.
"""

import os
from collections.abc import Generator, Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
# Real data sets lie beside a checkout or they do not; everything else that a test needs, .ci/run installs.
MAY_SKIP = "tests/realdata/"


@pytest.fixture(scope="session")
def root() -> Path:
    """The checkout."""
    return ROOT


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of real data sets: ../shared/data beside the checkout, or CROSSREGION_SHARED; skips without it."""
    named = os.environ.get("CROSSREGION_SHARED")
    folder = Path(named) if named else ROOT.parent / "shared" / "data"
    if not folder.is_dir():
        pytest.skip(f"no real data in {folder}; set CROSSREGION_SHARED to the folder that holds the data sets")
    return folder


def _forbid_skip(report: pytest.TestReport | pytest.CollectReport) -> None:
    """In CI a skip is a failure: what a machine lacks must be installed there, not passed over."""
    if not os.environ.get("CI") or report.outcome != "skipped" or hasattr(report, "wasxfail"):
        return
    if not report.nodeid.startswith(MAY_SKIP):
        reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else report.longrepr
        report.outcome = "failed"
        report.longrepr = f"skipped, and CI allows no skip: {reason}"


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    _forbid_skip(report)
    return report


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report() -> Generator[None, pytest.CollectReport, pytest.CollectReport]:
    report = yield
    _forbid_skip(report)
    return report


def _failed_checks() -> Iterator[str]:
    """Names of the checks that run.py ran before the tests and that found something."""
    yield from os.environ.get("FAILED_CHECKS", "").split()


@pytest.hookimpl(tryfirst=True)
def pytest_sessionfinish(session: pytest.Session) -> None:
    if session.exitstatus == pytest.ExitCode.OK and any(_failed_checks()):
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    for name in _failed_checks():
        terminalreporter.write_line(f"FAILED {name}: see what it printed above the tests", red=True)
