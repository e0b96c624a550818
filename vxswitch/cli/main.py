"""The command line: words -> a handler -> its exit code (0 done, 1 failed, 2 wrong usage, 3 switch not reachable).

Every command's parser is cheap and made each time; what a command needs to run it imports itself, so ``vxswitch
status`` does not pay for ``vxswitch run``. The lab, which is a program of its own, is asked for its parser only when
it is meant. An error is one line on stderr; a traceback is a bug.
"""

from __future__ import annotations

import argparse
import errno
import os
import signal
import sys
from collections.abc import Sequence
from typing import Any

from vxswitch import __version__
from vxswitch.cli import attach, fdb, mcast, monitor, network, run, show, trace, verify
from vxswitch.cli.common import Parser, add_global_options
from vxswitch.cli.output import printable
from vxswitch.errors import VxswitchError

SHELLS = ("bash", "zsh", "tcsh")
INTERRUPTED = 130  # as a shell reports a command ended by SIGINT
_NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO)


def main() -> None:
    """The entry point of ``vxswitch``; always raises SystemExit."""
    signal.signal(signal.SIGINT, signal.default_int_handler)  # see __main__
    raise SystemExit(execute(sys.argv[1:]))


def execute(argv: Sequence[str]) -> int:
    """Run one command line; its exit code."""
    try:
        try:
            code = _dispatch(fdb.with_verb(argv))
        except SystemExit as end:  # --help and --version
            code = int(end.code or 0)
        sys.stdout.flush()
        return code
    except VxswitchError as error:
        print(f"vxswitch: {printable(str(error))}", file=sys.stderr)
        return error.exit_code
    except BrokenPipeError:  # whoever read our output has had enough
        _output_to_nowhere()
        return 1
    except OSError as error:  # what else may fail has words of its own
        if error.errno not in _NO_ROOM:
            raise
        _output_to_nowhere()
        print(f"vxswitch: cannot write the output: {error.strerror}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return INTERRUPTED


def _output_to_nowhere() -> None:
    """What is still buffered would fail again when the interpreter ends."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def make_parser(*, with_lab: bool = False) -> Parser:
    """The parser of the whole command line."""
    parser = Parser(prog="vxswitch", description="A userspace VXLAN switch for container overlay networks.")
    add_global_options(parser, default=None)
    parser.add_argument("--version", action="version", version=f"vxswitch {__version__}")
    parser.add_argument("--print-completion", choices=SHELLS, help="print a completion script for that shell")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND")
    for group in (run, network, attach, show, fdb, mcast, trace, verify, monitor):
        group.register(commands)
    _register_lab(commands, with_lab)
    return parser


def _dispatch(argv: Sequence[str]) -> int:
    words = [word for word in argv if not word.startswith("-")]
    complete = any(word.startswith("--print-completion") for word in argv)
    parser = make_parser(with_lab="lab" in words or complete)
    args = parser.parse_args(argv)
    if args.print_completion:
        return _print_completion(parser, args.print_completion)
    if args.command is None:
        parser.print_help(sys.stderr)
        return 2
    code: int = args.func(args)
    return code


def _register_lab(commands: Any, with_lab: bool) -> None:
    if with_lab:
        from vxswitch.cli import lab

        lab.register(commands)
    else:
        commands.add_parser("lab", help="hosts in namespaces on this machine")


def _print_completion(parser: argparse.ArgumentParser, shell: str) -> int:
    try:
        import shtab
    except ImportError:
        raise VxswitchError("completion scripts are made by shtab: pip install shtab") from None
    print(shtab.complete(parser, shell=shell))
    return 0
