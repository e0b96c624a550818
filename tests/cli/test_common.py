from __future__ import annotations

import argparse

import pytest

from vxswitch.cli.common import Parser, add_command, add_global_options, client_of, socket_of, unless_absent
from vxswitch.client import DEFAULT_SOCKET
from vxswitch.errors import NotFoundError, UsageError


@pytest.fixture
def parser():
    top = Parser(prog="vx")
    add_global_options(top, default=None)
    command = add_command(top.add_subparsers(dest="command"), "status", "text", lambda args: 0)
    command.add_argument("--network")
    return top


@pytest.mark.parametrize(
    ("words", "socket", "json"),
    [
        (["status"], None, None),
        (["--socket", "/s", "--json", "status"], "/s", True),
        (["status", "--socket", "/s", "--json"], "/s", True),
        (["--socket", "/a", "status", "--socket", "/b"], "/b", None),
    ],
)
def test_global_options_stand_before_or_after_the_command(parser, words, socket, json):
    args = parser.parse_args(words)
    assert (args.socket, args.json) == (socket, json)


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["statsu"], "did you mean status.*see `vx --help`"),
        (["status", "--net", "x"], "--net"),
        (["status", "--network"], "see `vx status --help`"),
    ],
)
def test_a_wrong_line_is_a_usage_error(parser, words, says):
    with pytest.raises(UsageError, match=says):
        parser.parse_args(words)


@pytest.mark.parametrize(
    ("option", "env", "expected"),
    [("/o", "/e", "/o"), (None, "/e", "/e"), (None, "", DEFAULT_SOCKET), (None, None, DEFAULT_SOCKET)],
)
def test_the_socket_is_the_option_s_then_the_environment_s(monkeypatch, option, env, expected):
    monkeypatch.delenv("VXSWITCH_SOCKET", raising=False)
    if env is not None:
        monkeypatch.setenv("VXSWITCH_SOCKET", env)
    args = argparse.Namespace(socket=option)
    assert socket_of(args) == client_of(args).socket_path == expected


def test_unless_absent():
    def missing():
        raise NotFoundError("no such thing")

    assert unless_absent(lambda: 5, False) == 5
    assert unless_absent(missing, True) is None
    with pytest.raises(NotFoundError):
        unless_absent(missing, False)
