"""Lay a view out as lines of rich for a terminal of a certain size.

    lines = rich_layout.layout(view, width, height)

From top to bottom: batch, progress and bar; what stops it; the features that ended last, the running ones, the pending
ones with the reason; usage. In a small terminal the table loses columns, the lists lose lines and lines are cut. Texts
are never interpreted as styles.
"""

from __future__ import annotations

from typing import Dict, List

from rich.cells import cell_len, set_cell_size
from rich.text import Text

from ...base.text import duration
from . import wording
from .view_model import RunningFeature, View

MIN_WIDTH, MIN_HEIGHT = 10, 3
NUMBER_CELLS = 5  # cells
COLUMNS = (  # name, cells, least width of the terminal
    ("phase", 10, 30), ("time", 10, 30), ("turns", 5, 66), ("cost", 7, 56), ("tool", 12, 78),
)  # fmt: skip
RIGHT_ALIGNED = ("time", "turns", "cost")
STYLES = {"waiting": "yellow", "paused": "yellow", "ended": "bold", "stopped": "bold red"}
STATUS_STYLES = {"done": "green", "failed": "red", "skipped": "yellow"}
BAR = (("done", "█", "green"), ("failed", "x", "red"), ("skipped", "-", "yellow"), ("running", "▒", "cyan"))
REST = ("░", "dim")
MAX_PENDING, MAX_ENDED, MAX_WRAPPED_LINES = 5, 3, 2  # lines at most


def layout(view: View, width: int, height: int) -> List[Text]:
    """Return the view as at most `height - 1` lines of at most `width` cells."""
    width, height = max(width, MIN_WIDTH), max(height, MIN_HEIGHT)
    head = [
        *_wrap(f"Batch {view.batch_id}: {view.status.replace('_', ' ')}, {duration(view.seconds)}", "bold", width),
        _line(wording.format_progress(view), "", width),
        progress_bar(view, width),
        *(line for kind, text in wording.describe_blockers(view) for line in _wrap(text, STYLES[kind], width)),
    ]
    foot = _wrap(wording.format_usage(view), "dim", width)
    # the running features first, then pending ones, then those that ended last
    room = max(0, height - 1 - len(head) - len(foot))
    rows = _layout_running(view.rows, width, room)
    pending = _layout_pending(view, width, min(MAX_PENDING, room - len(rows)))
    most = max(0, min(MAX_ENDED, room - len(rows) - len(pending)))
    ended = []
    for entry in reversed(view.last[:most]):
        note = f"{entry.status}{'  ' if entry.status == 'done' else ': '}{entry.why}"
        ended.append(_feature_line(entry.number, entry.text, note, STATUS_STYLES[entry.status], width))
    return [*head, *ended, *rows, *pending, *foot][: height - 1]


def progress_bar(view: View, width: int) -> Text:
    """Return the features as one bar: done, failed, skipped, running, pending. A status with any feature has at least
    a cell; only a finished batch fills the bar.
    """
    counts = {**view.counts, "running": view.counts["running"] + view.counts["merging"]}
    total, pending = max(1, counts["total"]), counts["pending"] + counts["waiting"]
    drawn = Text(no_wrap=True)
    left = width - (1 if pending else 0)
    for name, sign, style in BAR:
        number = counts[name]
        cells = min(left, max(1, number * width // total)) if number else 0
        drawn.append(sign * cells, style)
        left -= cells
    if pending:
        drawn.append(REST[0] * (width - len(drawn)), REST[1])
    elif len(drawn) < width:  # cells that rounding left over
        drawn = Text(drawn.plain[:1] * (width - len(drawn)), drawn.spans[0].style if drawn.spans else "") + drawn
    return drawn


def _layout_running(rows: List[RunningFeature], width: int, room: int) -> List[Text]:
    if not rows or room < 1:
        return []
    shown = rows if len(rows) < room else rows[: max(0, room - 2)]
    drawn = [_table_line("", "feature", {name: name for name, _, _ in COLUMNS}, "dim", width)]
    for row in shown:
        cells = {
            "phase": wording.describe_step(row), "time": duration(row.seconds), "cost": wording.format_cost(row),
            "turns": "" if row.turns is None else str(row.turns), "tool": row.tool or "",
        }  # fmt: skip
        text = row.text if row.attempt == 1 else f"(attempt {row.attempt}) {row.text}"
        text = f"({row.merge}) {text}" if row.merge else text
        drawn.append(_table_line(str(row.number), text, cells, "cyan", width))
    return [*drawn, *_count_rest(len(rows) - len(shown), "running", width)][-room:]


def _table_line(number: str, text: str, cells: Dict[str, str], style: str, width: int) -> Text:
    """Return a line of the table: number and text, then the `cells` of the columns that the terminal has room for."""
    columns = [(name, size) for name, size, least in COLUMNS if width >= least]
    left = max(0, width - NUMBER_CELLS - 1 - sum(size + 1 for _, size in columns))
    parts = [f"{number:>{NUMBER_CELLS}} {_fit_cells(text, left)}"]
    for name, size in columns:
        fitted = _fit_cells(cells[name], size)
        parts.append(fitted.strip().rjust(size) if name in RIGHT_ALIGNED else fitted)
    return _line(" ".join(parts), style, width)


def _layout_pending(view: View, width: int, room: int) -> List[Text]:
    if not view.pending or room < 1:
        return []
    shown = view.pending if len(view.pending) <= room else view.pending[: room - 1]
    drawn = [_feature_line(entry.number, entry.text, entry.why or "pending", "dim", width) for entry in shown]
    return [*drawn, *_count_rest(len(view.pending) - len(shown), "pending", width)]


def _count_rest(number: int, status: str, width: int) -> List[Text]:
    return [_line(f"{'':{NUMBER_CELLS}} and {number} more {status}", "dim", width)] if number else []


def _feature_line(number: int, text: str, note: str, style: str, width: int) -> Text:
    """Return a feature with a note on the right, which takes at most half of the line."""
    right = min(cell_len(note), max(0, (width - NUMBER_CELLS - 2) // 2))
    left = max(0, width - NUMBER_CELLS - 2 - right)
    return _line(f"{number:>{NUMBER_CELLS}} {_fit_cells(text, left)} ", "", width).append(
        _fit_cells(note, right), style
    )


def _line(text: str, style: str, width: int) -> Text:
    """Return one line, cut to the width."""
    return Text().append(text if cell_len(text) <= width else _fit_cells(text, width), style)


def _wrap(text: str, style: str, width: int) -> List[Text]:
    """Return a sentence on at most MAX_WRAPPED_LINES lines."""
    lines = [""]
    for word in text.split():
        longer = f"{lines[-1]} {word}".strip()
        if cell_len(longer) <= width or not lines[-1] or len(lines) == MAX_WRAPPED_LINES:
            lines[-1] = longer
        else:
            lines.append(word)
    return [_line(line, style, width) for line in lines if line]


def _fit_cells(text: str, cells: int) -> str:
    """Return text in exactly that many cells; it ends with `…` when it is cut."""
    if cell_len(text) <= cells or cells < 1:
        return set_cell_size(text, max(0, cells))
    return set_cell_size(set_cell_size(text, cells - 1).rstrip() + "…", cells)
