"""Exceptions for a human: one line that says what failed, on which object, and what to do about it.

Nothing in the way of a frame raises these; they end a command, a configuration or a control request.
"""

from __future__ import annotations


class VxswitchError(Exception):
    """Something asked for could not be done. ``str(error)`` is the one line that the user reads."""

    exit_code = 1


class UsageError(VxswitchError):
    """The command line, the configuration or a request is wrong as it stands: asking again will not help."""

    exit_code = 2


class ConflictError(UsageError):
    """What was asked for contradicts what already exists (a VNI, a name, a running switch)."""


class NotFoundError(VxswitchError):
    """The network, port, MAC or namespace named does not exist."""


class StoreUnavailableError(VxswitchError):
    """The store cannot answer now; what was asked for stays pending or was not done."""


class NotReachableError(VxswitchError):
    """No switch answers on its control socket."""

    exit_code = 3
