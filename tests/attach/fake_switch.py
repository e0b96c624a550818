"""A switch that only attaches: it answers on attach.sock as the real one does and keeps the descriptors."""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import Callable
from concurrent.futures import Future
from pathlib import Path
from typing import Any

from vxswitch.attach import tap
from vxswitch.attach.server import AttachServer
from vxswitch.errors import VxswitchError


class FakeSwitch:
    """Runs on a thread of its own. ``requests`` is what it was asked, ``ports`` the living port of each place."""

    def __init__(self, directory: Path) -> None:
        self.path = str(directory / "attach.sock")
        self.requests: list[dict[str, Any]] = []
        self.ports: dict[tuple[int, str], int] = {}
        self.refuse: VxswitchError | None = None
        self.settings: dict[str, Any] = {"mac": "02:00:00:00:00:09", "ips": ["10.1.0.2/24"], "mtu": 1400}
        self.before_answer: Callable[[], None] = lambda: None
        self._ready: Future[tuple[asyncio.AbstractEventLoop, asyncio.Event]] = Future()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._run()))
        self._thread.start()
        self._loop, self._stop = self._ready.result()

    async def _run(self) -> None:
        server = AttachServer(self.path, self._handle)
        await server.start()
        stop = asyncio.Event()
        self._ready.set_result((asyncio.get_running_loop(), stop))
        await stop.wait()
        await server.close()

    async def _handle(self, obj: dict[str, Any], fds: list[int]) -> dict[str, Any]:
        self.requests.append(obj)
        if obj["op"] == "abort":
            inode, _, ifname = obj["port"].partition("/")
            os.close(self.ports.pop((int(inode), ifname)))
            return {}
        if self.refuse is not None:
            raise self.refuse
        tap.verify_passed(fds[0], obj["tap"])
        key = (obj["inode"], obj["ifname"])
        existing = key in self.ports
        if not existing:
            self.ports[key] = tap.duplicate(fds[0])
        self.before_answer()
        return {
            "port": f"{key[0]}/{key[1]}",
            "network": obj["network"],
            "netns": obj["netns"],
            "ifname": obj["ifname"],
            "existing": existing,
            **self.settings,
        }

    def forget(self) -> None:
        """Let go of every TAP, as a crash does."""
        while self.ports:
            os.close(self.ports.popitem()[1])

    def close(self) -> None:
        """Stop listening and let go."""
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join()
        self.forget()
