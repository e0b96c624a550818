"""What a figure depends on besides the code: machine, kernel, versions, commit. Goes into every result."""

from __future__ import annotations

import os
import platform
import re
import subprocess
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path

_VERSIONS = {
    "iperf3": ["iperf3", "--version"],
    "tinc": ["tincd", "--version"],
    "openvswitch": ["ovs-vswitchd", "--version"],
    "iproute2": ["ip", "-V"],
}
_MODULES = ("uvloop", "numpy", "redis", "python-pytun")
_ROOT = Path(__file__).parent.parent


def facts() -> dict[str, object]:
    """Everything known about this run's surroundings; what cannot be found out is None."""
    return {
        "when": datetime.now(UTC).isoformat(timespec="seconds"),
        "commit": _said(["git", "-C", str(_ROOT), "rev-parse", "--short=12", "HEAD"]),
        "changed_files": len((_said(["git", "-C", str(_ROOT), "status", "--porcelain"]) or "").splitlines()),
        "kernel": platform.release(),
        "machine": platform.machine(),
        "cpu": _cpu(),
        "cpus": len(os.sched_getaffinity(0)),
        "memory_bytes": os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"),
        "load_before": os.getloadavg()[0],
        "system": _system(),
        "python": platform.python_version(),
        "modules": {name: _version(name) for name in _MODULES},
        "tools": {name: (_said(argv) or "").split("\n")[0] or None for name, argv in _VERSIONS.items()},
    }


def _said(argv: list[str]) -> str | None:
    try:
        return subprocess.run(argv, capture_output=True, text=True, timeout=10, check=True).stdout.strip()
    except (OSError, subprocess.SubprocessError):
        return None


def _version(name: str) -> str | None:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None


def _cpu() -> str | None:
    found = re.search(r"^model name\s*: (.*)$", Path("/proc/cpuinfo").read_text(), re.M)
    return found[1] if found else None


def _system() -> str | None:
    try:
        return platform.freedesktop_os_release().get("PRETTY_NAME")
    except OSError:
        return None
