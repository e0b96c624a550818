"""The control API from outside: HTTP and JSON over the switch's unix socket, one connection per request, blocking.

Standard library only, and little of it: a command answers in the time that Python takes to start. Every failure is an
exception of ``errors``: nobody listens, or who listens gives no answer -> NotReachableError; the switch refuses ->
what it says, as the class that its answer means:

    HTTP status 404 NotFoundError, 409 ConflictError, 503 StoreUnavailableError,
    otherwise {"error": {"message": LINE, "exit_code": 1 | 2}} -> VxswitchError | UsageError
"""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator
from http.client import HTTPConnection, HTTPException, HTTPResponse
from typing import Any
from urllib.parse import quote, urlencode

from vxswitch.errors import (
    ConflictError,
    NotFoundError,
    NotReachableError,
    StoreUnavailableError,
    UsageError,
    VxswitchError,
)

DEFAULT_SOCKET = "/run/vxswitch/vxswitch.sock"
TIMEOUT = 10.0  # seconds for an answer; no request waits for the store longer than 3
SILENCE = 30.0  # seconds without a sign of life (an empty line) from a stream: the switch hangs

_BY_STATUS: dict[int, type[VxswitchError]] = {
    404: NotFoundError,
    409: ConflictError,
    503: StoreUnavailableError,
}


def path_of(*parts: str) -> str:
    """``/v1/...`` with each part quoted, so that no name can lead elsewhere."""
    return "/".join(["/v1", *(quote(part, safe="") for part in parts)])


class Client:
    """The switch behind ``socket_path``."""

    def __init__(self, socket_path: str, timeout: float = TIMEOUT) -> None:
        self.socket_path = socket_path
        self.timeout = timeout

    def get(self, path: str, **query: Any) -> Any:
        """The JSON document at ``path``; query values that are None are left out."""
        return self.request("GET", path, query=query)

    def post(self, path: str, body: dict[str, Any] | None = None) -> Any:
        """Ask for a change; the answer's JSON."""
        return self.request("POST", path, body=body or {})

    def delete(self, path: str, **query: Any) -> Any:
        """Ask for something to go; the answer's JSON."""
        return self.request("DELETE", path, query=query)

    def text(self, path: str) -> str:
        """What stands at ``path`` as text (``/metrics``)."""
        status, content = self._exchange("GET", path, None, self.timeout)
        if status >= 400:
            raise self._error(status, content)
        return content.decode()

    def lines(self, path: str) -> Iterator[str]:
        """The lines of a document that grows, as they come, until the switch ends it. Empty ones are left out."""
        connection = _UnixConnection(self.socket_path, SILENCE)
        try:
            connection.request("GET", path)
            answer = connection.getresponse()
            if answer.status >= 400:
                raise self._error(answer.status, answer.read())
            yield from _lines(answer)
        except TimeoutError:
            raise NotReachableError(f"the switch on {self.socket_path} is silent for {SILENCE:g} s") from None
        except HTTPException:
            return  # it ended in the middle of a line
        except OSError as error:
            raise self._unreachable(error) from None
        finally:
            connection.close()

    def request(
        self,
        method: str,
        path: str,
        *,
        query: dict[str, Any] | None = None,
        body: dict[str, Any] | None = None,
        timeout: float | None = None,
    ) -> Any:
        """One request; None when the answer has no content. ``timeout`` in seconds where the answer may take longer."""
        given = {key: value for key, value in (query or {}).items() if value is not None}
        target = f"{path}?{urlencode(given)}" if given else path
        status, content = self._exchange(method, target, body, timeout or self.timeout)
        if status >= 400:
            raise self._error(status, content)
        if not content:
            return None
        try:
            return json.loads(content)
        except ValueError:
            raise VxswitchError(f"{self.socket_path} answered something that is not JSON: is it a vxswitch?") from None

    def _exchange(self, method: str, target: str, body: dict[str, Any] | None, timeout: float) -> tuple[int, bytes]:
        content = None if body is None else json.dumps(body).encode()
        headers = {"Connection": "close"} | ({"Content-Type": "application/json"} if content is not None else {})
        connection = _UnixConnection(self.socket_path, timeout)
        try:
            connection.request(method, target, body=content, headers=headers)
            answer = connection.getresponse()
            return answer.status, answer.read()
        except TimeoutError:
            raise NotReachableError(f"the switch on {self.socket_path} gave no answer within {timeout:g} s") from None
        except HTTPException:
            raise NotReachableError(
                f"{self.socket_path} hung up or does not speak HTTP: see the switch's log"
            ) from None
        except OSError as error:
            raise self._unreachable(error) from None
        finally:
            connection.close()

    def _unreachable(self, error: OSError) -> VxswitchError:
        path = self.socket_path
        if isinstance(error, PermissionError):
            return NotReachableError(f"may not open {path}: be root or in the group of that socket")
        if isinstance(error, FileNotFoundError | ConnectionRefusedError | NotADirectoryError):
            return NotReachableError(
                f"no switch answers on {path}: start one with `vxswitch run`, or give --socket PATH"
            )
        if error.errno is None:  # the path is too long for a sockaddr_un
            return UsageError(f"cannot use {path!r}: {error}")
        return NotReachableError(f"no answer from {path}: {error.strerror}")

    def _error(self, status: int, content: bytes) -> VxswitchError:
        """The exception that a refusal means."""
        try:
            told = json.loads(content)["error"]
            message, exit_code = str(told["message"]), told.get("exit_code", 1)
        except (ValueError, TypeError, KeyError, AttributeError):
            return VxswitchError(f"{self.socket_path} answered HTTP {status}: is it the same version as this command?")
        if status in _BY_STATUS:
            return _BY_STATUS[status](message)
        return UsageError(message) if exit_code == UsageError.exit_code else VxswitchError(message)


def _lines(answer: HTTPResponse) -> Iterator[str]:
    while line := answer.readline():
        if text := line.decode().rstrip("\n"):
            yield text


class _UnixConnection(HTTPConnection):
    """HTTP over a unix socket."""

    def __init__(self, path: str, timeout: float) -> None:
        super().__init__("localhost", timeout=timeout)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self._path)
