"""A control API that answers what it was told to: HTTP on a unix socket, in a thread. Keeps what it was asked."""

from __future__ import annotations

import json
import threading
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from socketserver import ThreadingUnixStreamServer
from typing import Any


@dataclass(frozen=True)
class Asked:
    """One request as it arrived."""

    method: str
    path: str
    body: Any = None


@dataclass
class FakeApi:
    """``answers[method, path]`` is (status, JSON value or bytes); anything else is 404 without an error object."""

    path: Path
    answers: dict[tuple[str, str], tuple[int, Any]] = field(default_factory=dict)
    asked: list[Asked] = field(default_factory=list)

    def __enter__(self) -> FakeApi:
        self._server = ThreadingUnixStreamServer(str(self.path), self._handler())
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.01})
        self._thread.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    def answer(self, method: str, path: str, value: Any, status: int = 200) -> None:
        """From now on, that is the answer."""
        self.answers[method, path] = (status, value)

    def refuse(self, method: str, path: str, status: int, message: str, exit_code: int = 1) -> None:
        """From now on, that is refused."""
        self.answer(method, path, {"error": {"message": message, "exit_code": exit_code}}, status)

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        api = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def _serve(self) -> None:
                content = self.rfile.read(int(self.headers.get("Content-Length", 0)))
                api.asked.append(Asked(self.command, self.path, json.loads(content) if content else None))
                status, value = api.answers.get((self.command, self.path), (404, b"404: Not Found"))
                out = value if isinstance(value, bytes) else json.dumps(value).encode()
                self.send_response(status)
                self.send_header("Content-Length", str(len(out)))
                self.end_headers()
                self.wfile.write(out)

            do_GET = do_POST = do_DELETE = _serve

            def log_message(self, *_: object) -> None:
                """Tests print nothing."""

        return Handler
