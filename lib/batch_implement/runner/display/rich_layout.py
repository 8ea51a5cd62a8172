"""A view drawn for a terminal of a certain size, as lines of rich: what `display.Live` shows.

    lines = frame.lines(seen, width, height)

From top to bottom: which batch, how far, a bar; what keeps it from going on; the features that were closed last, those
under way with what their clients do, those still to begin and why; what it took. Where there is little room the table
loses columns, the lists lose lines, and a line its end; never more than `height - 1` lines of `width` cells come back.
Each text is set as it is: nothing in it is taken for a style.
"""

from __future__ import annotations

from typing import List, Tuple

from rich.cells import cell_len, set_cell_size
from rich.text import Text

from ...base.text import duration
from . import wording
from .view_model import RunningFeature, View

MIN_WIDTH, MIN_HEIGHT = 10, 3
NUMBER_CELLS = 5  # cells
COLUMNS = (  # name, cells, from which width on
    ("phase", 10, 30), ("time", 10, 30), ("turns", 5, 66), ("cost", 7, 56), ("tool", 12, 78),
)  # fmt: skip
RIGHT_ALIGNED = ("time", "turns", "cost")
STYLES = {"waits": "yellow", "paused": "yellow", "ended": "bold", "nobody": "bold red"}
STATUS_STYLES = {"done": "green", "failed": "red", "skipped": "yellow"}
BAR = (("completed", "█", "green"), ("failed", "x", "red"), ("skipped", "-", "yellow"), ("active", "▒", "cyan"))
REST = ("░", "dim")
MAX_PENDING, MAX_ENDED, MAX_WRAPPED_LINES = 5, 3, 2  # lines at most


def layout(seen: View, width: int, height: int) -> List[Text]:
    """The view in at most `height - 1` lines of at most `width` cells."""
    width, height = max(width, MIN_WIDTH), max(height, MIN_HEIGHT)
    head = [
        *_wrap(wording.format_title(seen), "bold", width),
        _styled_line([(wording.format_progress(seen), "")], width),
        progress_bar(seen, width),
        *(line for kind, text in wording.describe_blockers(seen) for line in _wrap(text, STYLES[kind], width)),
    ]
    foot = _wrap(wording.format_usage(seen), "dim", width)
    room = height - 1 - len(head) - len(foot)
    return [*head, *_layout_features(seen, width, max(0, room)), *foot][: height - 1]


def progress_bar(seen: View, width: int) -> Text:
    """The features of the batch as one bar: done, failed, skipped, under way, still to begin. Each that there is has a
    cell at least, and only a batch that is through fills the bar.
    """
    total = max(1, seen.counts["total"])
    drawn = Text(no_wrap=True)
    left = width - (1 if seen.counts["pending"] else 0)
    for name, sign, style in BAR:
        number = seen.counts[name]
        cells = min(left, max(1, number * width // total)) if number else 0
        drawn.append(sign * cells, style)
        left -= cells
    if seen.counts["pending"]:
        drawn.append(REST[0] * (width - len(drawn)), REST[1])
    elif len(drawn) < width:  # what the divisions left over belongs to the largest
        drawn = Text(drawn.plain[:1] * (width - len(drawn)), drawn.spans[0].style if drawn.spans else "") + drawn
    return drawn


def _layout_features(seen: View, width: int, room: int) -> List[Text]:
    """What is under way first, then what is to come, then what was closed, as far as there is room."""
    rows = _layout_running(seen.rows, width, room)
    room -= len(rows)
    held = _layout_pending(seen, width, min(MAX_PENDING, room))
    room -= len(held)
    last = [
        _feature_line(entry.number, entry.text, wording.describe_ended(entry), STATUS_STYLES[entry.condition], width)
        for entry in reversed(seen.last[: min(MAX_ENDED, max(0, room))])
    ]
    return [*last, *rows, *held]


def _layout_running(rows: List[RunningFeature], width: int, room: int) -> List[Text]:
    if not rows or room < 1:
        return []
    columns = [(name, cells) for name, cells, least in COLUMNS if width >= least]
    names = _table_line("", "feature", [(name, name, cells) for name, cells in columns], "dim", width)
    shown = rows if len(rows) < room else rows[: max(0, room - 2)]
    drawn = [names, *(_layout_running_feature(row, columns, width) for row in shown)]
    if len(shown) < len(rows):
        drawn.append(_styled_line([(f"{'':{NUMBER_CELLS}} and {len(rows) - len(shown)} more under way", "dim")], width))
    return drawn[-room:]


def _layout_running_feature(row: RunningFeature, columns: List[Tuple[str, int]], width: int) -> Text:
    told = {
        "phase": wording.describe_step(row), "time": duration(row.seconds), "cost": wording.format_cost(row),
        "turns": "" if row.turns is None else str(row.turns), "tool": row.tool or "",
    }  # fmt: skip
    text = row.text if row.attempt == 1 else f"({wording.format_attempt(row)}) {row.text}"
    return _table_line(str(row.number), text, [(name, told[name], cells) for name, cells in columns], "cyan", width)


def _table_line(number: str, text: str, columns: List[Tuple[str, str, int]], style: str, width: int) -> Text:
    """A line of the table: number and text, then the columns, each `(name, text, cells)`."""
    left = max(0, width - NUMBER_CELLS - 1 - sum(cells + 1 for _, _, cells in columns))
    parts = [f"{number:>{NUMBER_CELLS}} {_fit_cells(text, left)}"]
    for name, told, cells in columns:
        fitted = _fit_cells(told, cells)
        parts.append(fitted.strip().rjust(cells) if name in RIGHT_ALIGNED else fitted)
    return _styled_line([(" ".join(parts), style)], width)


def _layout_pending(seen: View, width: int, room: int) -> List[Text]:
    if not seen.held or room < 1:
        return []
    shown = seen.held if len(seen.held) <= room else seen.held[: room - 1]
    drawn = [_feature_line(entry.number, entry.text, wording.describe_pending(entry), "dim", width) for entry in shown]
    if len(shown) < len(seen.held):
        drawn.append(
            _styled_line([(f"{'':{NUMBER_CELLS}} and {len(seen.held) - len(shown)} more to begin", "dim")], width)
        )
    return drawn


def _feature_line(number: int, text: str, said: str, style: str, width: int) -> Text:
    """A feature with what there is to say of it on the right, which takes half of the line at most."""
    right = min(cell_len(said), max(0, (width - NUMBER_CELLS - 2) // 2))
    left = max(0, width - NUMBER_CELLS - 2 - right)
    return _styled_line(
        [(f"{number:>{NUMBER_CELLS}} {_fit_cells(text, left)} ", ""), (_fit_cells(said, right), style)], width
    )


def _styled_line(parts: List[Tuple[str, str]], width: int) -> Text:
    """One line of several styles, cut to the width."""
    drawn = Text(no_wrap=True)
    left = width
    for text, style in parts:
        fitted = text if cell_len(text) <= left else _fit_cells(text, left)
        drawn.append(fitted, style)
        left -= cell_len(fitted)
    return drawn


def _wrap(text: str, style: str, width: int) -> List[Text]:
    """A sentence on as many lines as it needs, at most WRAPPED."""
    found = [""]
    for word in text.split():
        longer = f"{found[-1]} {word}".strip()
        if cell_len(longer) <= width or not found[-1] or len(found) == MAX_WRAPPED_LINES:
            found[-1] = longer
        else:
            found.append(word)
    return [_styled_line([(line, style)], width) for line in found if line]


def _fit_cells(text: str, cells: int) -> str:
    """A text in exactly that many cells; one that is cut ends with `…`."""
    if cell_len(text) <= cells or cells < 1:
        return set_cell_size(text, max(0, cells))
    return set_cell_size(set_cell_size(text, cells - 1).rstrip() + "…", cells)
