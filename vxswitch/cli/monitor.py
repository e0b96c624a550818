"""``vxswitch monitor``: what happens, one line per event, until it is interrupted or the switch ends."""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Mapping
from typing import Any

from vxswitch.cli.common import add_command, client_of
from vxswitch.cli.output import cell, printable
from vxswitch.client import path_of
from vxswitch.errors import NotReachableError

_WORD = 16  # characters of the longest common word


def register(commands: Any) -> None:
    """Add ``monitor``."""
    add_command(commands, "monitor", "tell what happens, as it happens", monitor)


def monitor(args: argparse.Namespace) -> int:
    """``monitor``; with ``--json`` one object a line."""
    client = client_of(args)
    for line in client.lines(path_of("monitor")):
        print(line if args.json else _text(json.loads(line)), flush=True)
    raise NotReachableError(f"the switch on {client.socket_path} has ended")


def _text(event: Mapping[str, Any]) -> str:
    clock = time.strftime("%H:%M:%S", time.localtime(event["time"]))
    fields = (f"{key}={cell(value)}" for key, value in event.items() if key not in ("time", "event") and value != [])
    told = " ".join(field for field in fields if not field.endswith("=-"))
    return f"{clock}.{int(event['time'] * 1000) % 1000:03} {printable(event['event']).ljust(_WORD)} {told}"
