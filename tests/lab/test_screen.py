"""What the demo prints, and when it may call itself proved."""

from __future__ import annotations

import io

import pytest

from vxswitch.lab.screen import Screen


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_proved_only_if_every_claim_held() -> None:
    screen = Screen(io.StringIO())
    screen.claim(True, "water is wet", "100 %")
    assert screen.summary(1.0)
    screen.claim(False, "pigs fly", "0 of 3")
    assert not screen.summary(2.0)
    assert "1 of 2 did NOT hold" in screen.out.getvalue()  # type: ignore[attr-defined]


@pytest.mark.parametrize(("no_color", "coloured"), [("", True), ("1", False)])
def test_colours_only_on_a_terminal_without_no_color(
    no_color: str, coloured: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NO_COLOR", no_color)
    on_terminal, in_file = Terminal(), io.StringIO()
    for out in (on_terminal, in_file):
        Screen(out).heading("Reach")
    assert ("\x1b[" in on_terminal.getvalue()) is coloured
    assert "\x1b[" not in in_file.getvalue()


def test_long_output_is_cut_and_says_so() -> None:
    screen = Screen(out := io.StringIO())
    screen.text("vxswitch fdb", "\n".join(map(str, range(10))), limit=4)
    assert out.getvalue().splitlines()[-1].strip() == "... 6 more lines"


def test_a_step_prints_its_details_and_time() -> None:
    screen = Screen(out := io.StringIO())
    with screen.step("store") as details:
        details.append("redis://10.77.0.255:6379")
    assert "store" in out.getvalue() and "redis://" in out.getvalue() and out.getvalue().endswith("s\n")
