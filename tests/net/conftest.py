"""Network tests: real TAPs, namespaces, stores and other people's VTEPs, through the command line and the daemon.

Labs are made per module. The report of a failure has the drops of every switch in the labs that stand, and the end
of its log.
"""

from __future__ import annotations

import os
from collections.abc import Generator
from pathlib import Path

import pytest

from vxswitch.client import Client
from vxswitch.errors import VxswitchError
from vxswitch.lab.owner import labs

pytest.register_assert_rewrite("tests.net.shapes", "tests.net.traffic", "tests.net.underlay", "tests.net.wire")

_TAIL = 30  # lines


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Add what the switches logged to the report of a failure."""
    report = yield
    if report.failed:
        own = [owner for owner in labs() if owner.pid == os.getpid()]
        for path in sorted(path for owner in own for path in owner.directory.glob("*/switch.log")):
            tail = path.read_text(errors="replace").splitlines()[-_TAIL:]
            report.sections.append((f"log of {path.parent.name} in lab {path.parents[1].name}", "\n".join(tail)))
            report.sections.append((f"drops of {path.parent.name}", _drops(path.with_name("vxswitch.sock"))))
    return report


def _drops(sock: Path) -> str:
    try:
        return str({reason: n for reason, n in Client(str(sock)).get("/v1/drops").items() if n})
    except VxswitchError as error:
        return str(error)
