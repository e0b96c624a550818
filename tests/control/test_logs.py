from __future__ import annotations

import io
import json
import logging
from collections.abc import Iterator

import pytest

from tests.control.world import Time
from vxswitch.control import logs


@pytest.fixture(autouse=True)
def handlers() -> Iterator[None]:
    """The root logger as it was."""
    root = logging.getLogger()
    before, level, own = list(root.handlers), root.level, logging.getLogger("vxswitch").level
    yield
    root.handlers[:] = before
    root.setLevel(level)
    logging.getLogger("vxswitch").setLevel(own)


def record(event: str, *args: object) -> logging.LogRecord:
    return logging.LogRecord("vxswitch.control.ports", logging.WARNING, "", 0, event, args, None)


def test_json_lines_have_fixed_keys() -> None:
    out = io.StringIO()
    logs.setup("info", "auto", out)
    logging.getLogger("vxswitch.control.ports").warning("port %s is gone: %s", "red/c1/eth0", "why")
    line = json.loads(out.getvalue())
    assert line.keys() == {"time", "level", "room", "event", "message"}
    assert (line["level"], line["room"]) == ("warning", "control.ports")
    assert (line["event"], line["message"]) == ("port %s is gone: %s", "port red/c1/eth0 is gone: why")


def test_people_get_a_line_with_the_time_and_the_room() -> None:
    out = io.StringIO()
    logs.setup("info", "human", out)
    logging.getLogger("vxswitch.store.redis").info("store is up")
    assert out.getvalue()[8:] == " INFO    store.redis: store is up\n"


def test_a_terminal_gets_the_human_form() -> None:
    out = io.StringIO()
    out.isatty = lambda: True  # type: ignore[method-assign]
    logs.setup("info", "auto", out)
    logging.getLogger("vxswitch").warning("hello")
    assert "WARNING" in out.getvalue()


@pytest.mark.parametrize("form", ["human", "json"])
def test_exceptions_keep_their_traceback(form: logs.Format) -> None:
    out = io.StringIO()
    logs.setup("info", form, out)
    try:
        raise RuntimeError("boom")
    except RuntimeError:
        logging.getLogger("vxswitch").exception("failed")
    assert "RuntimeError: boom" in out.getvalue() and "test_logs.py" in out.getvalue()


def test_levels_are_of_our_rooms_and_can_change() -> None:
    out = io.StringIO()
    logs.setup("warning", "human", out)
    logging.getLogger("vxswitch.x").info("no")
    logging.getLogger("aiohttp.access").info("no")
    logs.set_level("debug")
    logging.getLogger("vxswitch.x").debug("yes")
    logging.getLogger("aiohttp.access").info("no")
    assert out.getvalue().count("\n") == 1 and "yes" in out.getvalue()


def test_setting_up_again_does_not_double_lines() -> None:
    out = io.StringIO()
    logs.setup("info", "human", out)
    logs.setup("info", "human", out)
    logging.getLogger("vxswitch").info("once")
    assert out.getvalue().count("once") == 1


def test_of_one_event_about_one_object_a_few_lines_pass_and_then_one_per_pause() -> None:
    time = Time()
    limit = logs.RateLimit(time)
    passed = [limit.filter(record("port %s is gone", "p1")) for _ in range(100)]
    assert passed.count(True) == logs.BURST
    time.pass_by(logs.PAUSE)
    late = record("port %s is gone", "p1")
    assert limit.filter(late) and late.suppressed == 100 - logs.BURST  # type: ignore[attr-defined]
    assert not limit.filter(record("port %s is gone", "p1"))


def test_other_objects_and_events_have_their_own_allowance() -> None:
    limit = logs.RateLimit(Time())
    for _ in range(50):
        limit.filter(record("port %s is gone", "p1"))
    assert limit.filter(record("port %s is gone", "p2"))
    assert limit.filter(record("port %s is up", "p1"))


def test_a_quiet_event_gets_its_burst_back() -> None:
    time = Time()
    limit = logs.RateLimit(time)
    for _ in range(logs.BURST):
        assert limit.filter(record("event"))
    time.pass_by(logs.PAUSE)
    assert [limit.filter(record("event")) for _ in range(logs.BURST)] == [True] * logs.BURST


def test_whoever_invents_objects_meets_a_bounded_table_and_one_allowance() -> None:
    limit = logs.RateLimit(Time())
    passed = sum(limit.filter(record("node %s is odd", f"n{i}")) for i in range(5000))
    assert passed <= 1024 + logs.BURST
    assert len(limit._seen) <= 1025


def test_how_many_were_left_out_is_said() -> None:
    line = record("port %s is gone", "p1")
    line.suppressed = 7
    assert "(7 more like it)" in logs.HumanFormatter().format(line)
    assert json.loads(logs.JsonFormatter().format(line))["suppressed"] == 7
