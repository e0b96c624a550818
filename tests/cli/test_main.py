from __future__ import annotations

import os
import subprocess
import sys

import pytest

import vxswitch
from vxswitch.cli import show
from vxswitch.cli.main import execute, make_parser

HEAVY = {
    "aiohttp",
    "asyncio",
    "msgspec",
    "numpy",
    "pyroute2",
    "pytun",
    "redis",
    "uvloop",
    "vxswitch.config",
    "vxswitch.lab",
    "vxswitch.switch",
}
SHOW_MODULES = """
import sys
from vxswitch.cli.main import execute
code = execute(sys.argv[1:])
print(*sorted(sys.modules), file=sys.stderr)
raise SystemExit(code)
"""


def run(*argv: str, env: dict[str, str] | None = None, **options) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *argv], text=True, capture_output=True, env={**os.environ, **(env or {})}, **options
    )


def test_status_imports_nothing_heavy(api):
    api.answer("GET", "/v1/status", {"node": "n"})
    done = run("-c", SHOW_MODULES, "status", "--socket", str(api.path))
    assert done.returncode == 0
    loaded = set(done.stderr.split())
    assert "vxswitch.client" in loaded
    assert loaded & HEAVY == set()


@pytest.mark.parametrize(
    ("words", "code"),
    [
        (["--version"], 0),
        (["--help"], 0),
        (["status"], 3),
        (["nonsense"], 2),
        (["network", "show", "none"], 3),
        ([], 2),
    ],
)
def test_exit_codes_of_the_process(tmp_path, words, code):
    done = run("-m", "vxswitch", *words, env={"VXSWITCH_SOCKET": str(tmp_path / "none")})
    assert done.returncode == code
    if code and words:
        assert done.stdout == ""
        assert done.stderr.startswith("vxswitch: ") and done.stderr.count("\n") == 1


def test_version(vx):
    ran = vx("--version")
    assert (ran.code, ran.out) == (0, f"vxswitch {vxswitch.__version__}\n")


def test_help_names_every_command(vx):
    ran = vx("--help")
    assert ran.code == 0
    commands = ("run", "network", "attach", "detach", "status", "ports", "fdb", "peers", "drops", "stats", "trace")
    assert all(f"\n    {command} " in ran.out for command in (*commands, "verify", "monitor", "lab"))


@pytest.mark.parametrize("command", ["why", "capture", "doctor", "report", "top", "mesh"])
def test_commands_that_are_not_built_are_refused(vx, command):
    ran = vx(command)
    assert ran.code == 2 and f"invalid choice: '{command}'" in ran.err


@pytest.mark.parametrize(("word", "nearest"), [("statuss", "status"), ("netwrok", "network"), ("atach", "attach")])
def test_did_you_mean(vx, word, nearest):
    assert f"did you mean {nearest}?" in vx(word).err


def test_no_command_shows_the_help(vx):
    ran = vx()
    assert ran.code == 2 and ran.out == "" and "COMMAND" in ran.err


@pytest.mark.parametrize(("status", "exit_code"), [(500, 1), (400, 2), (404, 1), (409, 2), (503, 1)])
def test_the_switch_s_own_refusal_is_printed_on_one_line(vx, api, status, exit_code):
    api.refuse("GET", "/v1/status", status, "first\nsecond\x1b[31m", exit_code)
    ran = vx("status")
    assert (ran.code, ran.out, ran.err) == (exit_code, "", "vxswitch: first?second?[31m\n")


def test_interrupted(vx, monkeypatch):
    def interrupt(_args):
        raise KeyboardInterrupt

    monkeypatch.setattr(show, "client_of", interrupt)
    assert vx("status").code == 130


def test_a_reader_that_has_had_enough(api):
    api.answer("GET", "/v1/fdb", [{"mac": "02:00:00:00:00:01"}] * 20_000)
    read, write = os.pipe()
    os.close(read)
    with os.fdopen(write, "wb") as closed:
        argv = [sys.executable, "-m", "vxswitch", "fdb", "--json", "--socket", str(api.path)]
        done = subprocess.run(argv, stdout=closed, stderr=subprocess.PIPE)
    assert (done.returncode, done.stderr) == (1, b"")


def test_an_output_that_takes_no_more(api):
    api.answer("GET", "/v1/drops", {"storm": 1})
    with open("/dev/full", "wb") as full:
        argv = [sys.executable, "-m", "vxswitch", "drops", "--json", "--socket", str(api.path)]
        done = subprocess.run(argv, stdout=full, stderr=subprocess.PIPE)
    assert (done.returncode, done.stderr) == (1, b"vxswitch: cannot write the output: No space left on device\n")


def test_help_into_a_closed_pipe():
    read, write = os.pipe()
    os.close(read)
    with os.fdopen(write, "wb") as closed:
        done = subprocess.run([sys.executable, "-m", "vxswitch", "--help"], stdout=closed, stderr=subprocess.PIPE)
    assert done.returncode in (0, 1) and done.stderr == b""  # argparse itself may have swallowed the error


@pytest.mark.parametrize("shell", ["bash", "zsh", "tcsh"])
def test_completion(vx, shell):
    ran = vx("--print-completion", shell)
    assert ran.code == 0 and "vxswitch" in ran.out and "detach" in ran.out


def test_completion_is_a_script_that_bash_accepts(vx):
    script = vx("--print-completion", "bash").out
    assert subprocess.run(["bash", "-n"], input=script, text=True).returncode == 0


def test_every_command_that_prints_has_json_and_socket():
    commands = next(action for action in make_parser()._actions if action.dest == "command").choices
    for name, command in commands.items():
        if name == "lab":
            continue
        options = {option for action in command._actions for option in action.option_strings}
        assert {"--json", "--socket"} <= options, name


def test_lab_is_asked_for_its_parser_only_when_it_is_meant(vx, monkeypatch):
    registered = []
    monkeypatch.setattr("vxswitch.cli.lab.register", registered.append)
    vx("network", "--help")
    assert registered == []
    vx("lab")
    assert len(registered) == 1


def test_options_are_never_guessed_from_their_beginnings(vx):
    ran = vx("status", "--js")
    assert ran.code == 2 and "--js" in ran.err


def test_execute_gives_the_code_of_the_handler(monkeypatch):
    monkeypatch.setattr(show, "status", lambda args: 7)
    assert execute(["status"]) == 7
