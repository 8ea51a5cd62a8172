"""The displays: lines with time stamps, and a drawing that fits whatever terminal there is."""

from __future__ import annotations

import io
import sys
import time

import pytest
from batch_implement.core import run_transitions
from batch_implement.runner.display import live_display, rich_layout, view_model
from batches import then
from rich.cells import cell_len
from rich.console import Console
from run_states import NOW, dispatched, given_up, merged, queued, run_state

UNTIL = "2026-02-01T06:00:00Z"
MARKUP = "[bold red]not a style[/] 漢字漢字漢字 :smile: [link=https://example.invalid]x[/link]"


class Terminal(io.StringIO):
    """A stream that says it is a terminal."""

    encoding = "utf-8"

    def isatty(self) -> bool:
        return True


class Closed(io.StringIO):
    """A stream whose reader has gone."""

    encoding = "utf-8"

    def write(self, text: str) -> int:
        raise BrokenPipeError(32, "Broken pipe")


def busy(features: int = 20, under_way: int = 3) -> view_model.View:
    """A batch with everything in it."""
    state = given_up(merged(run_state([MARKUP] * features, needs={features - 1: [2]}), 0), 1, MARKUP)
    for index in range(2, 2 + under_way):
        state = dispatched(state, index)
    state = queued(state, 2)
    return view_model.View(
        then(state, run_transitions.begin_wait, NOW, UNTIL, "usage limit reached " * 9, "usage_limit"), NOW
    )


def drawn(seen: view_model.View, width: int, height: int) -> list[str]:
    """The lines of a drawing as a terminal has them."""
    lines = rich_layout.layout(seen, width, height)
    console = Console(file=io.StringIO(), width=width, height=height, force_terminal=True, color_system=None)
    for line in lines:
        console.print(line)
    shown = console.file.getvalue().splitlines()
    assert shown == [line.plain for line in lines], "a line was wrapped, or taken for markup"
    return shown


# -- the drawing -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("width", [10, 24, 40, 80, 132])
@pytest.mark.parametrize("height", [1, 3, 8, 24])
def test_a_drawing_fits_the_terminal(width, height):
    lines = drawn(busy(), width, height)
    assert 0 < len(lines) <= max(2, height - 1)
    assert max(map(cell_len, lines)) <= width
    assert all(line.isprintable() for line in lines)


def test_at_80_columns_everything_is_there():
    lines = drawn(busy(), 80, 24)
    assert lines[0] == "Batch batch-1: in progress, 1 h"
    assert lines[1] == "1 of 20 done, 1 failed, 2 running, 1 merging"
    assert lines[3].startswith("Waiting until 06:00 UTC (in 5 h): usage limit reached")
    text = "\n".join(lines)
    for expected in (
        "done  c0ffee", "failed: [bold red]not a", "phase            time turns    cost tool",
        "merging           1 h", "running           1 h", "pending", "and 11 more pending",
            "Used: $1.50, 30 turns",
    ):  # fmt: skip
        assert expected in text
    assert [line[:5].strip() for line in lines if line.endswith(" pending") and "more" not in line] == [
        "6",
        "7",
        "8",
        "9",
    ]


def test_at_40_columns_phase_and_time_are_left():
    text = "\n".join(drawn(busy(), 40, 24))
    assert "phase            time" in text
    assert "turns " not in text.split("Used:")[0]
    assert "merging           1 h" in text


def test_a_text_that_is_cut_says_so_in_wide_letters_too():
    seen = view_model.View(dispatched(run_state(["漢" * 25, "b"]), 0), NOW)
    (line,) = [line for line in drawn(seen, 60, 24) if "漢" in line]
    assert "漢…" in line


def test_of_hundreds_of_features_those_under_way_are_shown_first():
    lines = drawn(busy(600, 100), 80, 24)
    assert len(lines) == 23
    assert sum(" running " in line or " merging " in line for line in lines) == 15
    assert lines[-2].endswith("and 85 more running")


def test_the_bar_shows_each_condition_that_there_is_and_is_full_only_at_the_end():
    bar = rich_layout.progress_bar(busy(600, 1), 40).plain
    assert (len(bar), bar[:3], set(bar[3:])) == (40, "█x▒", {"░"})
    state = run_state(7)
    for index in range(6):
        state = merged(state, index)
    assert rich_layout.progress_bar(view_model.View(state, NOW), 10).plain == "████████░░"
    assert rich_layout.progress_bar(view_model.View(dispatched(state, 6), NOW), 10).plain == "█████████▒"
    assert rich_layout.progress_bar(view_model.View(merged(state, 6), NOW), 10).plain == "█" * 10


# -- lines -------------------------------------------------------------------------------------------------------------


def test_each_event_is_a_line_with_its_time():
    out = io.StringIO()
    shown = live_display.Display(out)
    shown.event("merged", f"feature 4: \x1b[31m{MARKUP}\nsecond line")
    shown.event("ended", "x" * 10_000)
    merged_line, ended_line = out.getvalue().splitlines()
    assert merged_line[4] == merged_line[7] == "-"
    assert merged_line[19:] == f"  merged       feature 4: [31m{MARKUP} second line"
    assert len(ended_line) < 600


def test_how_things_stand_is_said_at_once_and_after_ten_minutes_of_silence():
    out, now = io.StringIO(), [0.0]
    shown = live_display.Display(out, clock=lambda: now[0])
    state = merged(run_state(2), 0)
    lines = []
    for moment, event in ((0, ""), (599, ""), (600, ""), (700, "merged"), (1299, ""), (1300, "")):
        now[0] = moment
        if event:
            shown.event(event, "feature 1")
        shown.refresh(state)
        lines.append(len(out.getvalue().splitlines()))
    assert lines == [1, 1, 2, 3, 3, 4]
    assert "running      1 of 2 done; " in out.getvalue()


def test_what_the_encoding_has_no_place_for_is_a_question_mark():
    out = io.TextIOWrapper(io.BytesIO(), encoding="ascii")
    live_display.Display(out).event("note", "漢 \ud800")
    assert out.buffer.getvalue().decode("ascii").rstrip().endswith("note         ? ?")


@pytest.mark.parametrize("make", [live_display.Display, lambda stream: live_display.LiveDisplay(stream, {})])
def test_a_terminal_that_was_closed_is_no_error(make):
    shown = make(Closed())
    for _ in range(2):
        shown.event("started", "feature 1")
        shown.refresh(run_state())
    shown.close()
    assert shown.gone


def test_a_fault_in_the_drawing_is_said_and_ends_nothing(monkeypatch, capsys):
    monkeypatch.setattr(rich_layout, "layout", lambda *size: size[9])
    shown = live_display.LiveDisplay(Terminal(), {})
    shown.refresh(run_state())
    shown.refresh(run_state())
    shown.close()
    assert shown.gone
    errors = capsys.readouterr().err
    assert errors.count("the display failed: IndexError: tuple index out of range. The run continues") == 1


# -- which of the two --------------------------------------------------------------------------------------------------


def kind(stream: io.TextIOBase, **environ: str) -> type:
    shown = live_display.open_display(stream, {"TERM": "xterm", **environ})
    shown.close()
    return type(shown)


def test_a_terminal_has_the_drawing_and_anything_else_has_lines():
    assert kind(Terminal()) is live_display.LiveDisplay
    assert kind(io.StringIO()) is live_display.Display
    assert kind(Terminal(), TERM="dumb") is live_display.Display
    ascii_terminal = Terminal()
    ascii_terminal.encoding = "ascii"
    assert kind(ascii_terminal) is live_display.Display


def test_without_rich_there_are_lines(monkeypatch):
    for name in [name for name in sys.modules if name.split(".")[0] == "rich"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "rich", None)
    before = list(sys.path)
    assert kind(Terminal()) is live_display.Display
    assert sys.path == before


def test_no_color_takes_the_colours_and_leaves_the_drawing():
    def colours(**environ: str) -> bool:
        out = Terminal()
        shown = live_display.LiveDisplay(out, environ)
        shown.event("failed", "feature 1")
        shown.close()
        return "\x1b[3" in out.getvalue()

    assert not colours(NO_COLOR="1")
    assert colours()


def test_an_event_stands_above_the_drawing_as_it_is_said():
    out = Terminal()
    shown = live_display.LiveDisplay(out, {"NO_COLOR": "1"})
    shown.refresh(run_state())
    shown.event("note", f"{MARKUP[:28]} 123")
    shown.close()
    assert f"note         {MARKUP[:28]} 123" in out.getvalue()


def test_the_drawing_never_touches_the_cursor_and_is_not_drawn_after_the_end():
    out = Terminal()
    shown = live_display.LiveDisplay(out, {})
    shown.refresh(run_state())
    shown.event("started", "feature 1")
    shown.close()
    shown.close()
    assert "\x1b[?25" not in out.getvalue()
    assert not shown.ticker.is_alive()


def test_the_times_go_on_while_nobody_refreshes(monkeypatch):
    monkeypatch.setattr(live_display, "TICK_S", 0.01)
    out = Terminal()
    shown = live_display.LiveDisplay(out, {})
    shown.refresh(run_state())
    length, until = len(out.getvalue()), time.monotonic() + 20
    while len(out.getvalue()) == length and time.monotonic() < until:
        time.sleep(0.01)
    shown.close()
    assert len(out.getvalue()) > length
