"""The time line of a batch: when each feature was worked on, as data and as SVG. Pure.

    time_line = build_timeline(state, at)
    render_svg(time_line, lanes)          widths are percentages: it fits any screen

A lane is a feature. After `batchctl run` it has a bar for each client and a mark where it was merged. Without, it has
one bar from its first start to its end, with marks where attempts failed: when an attempt began is only known of the
running one. The outcome of a bar is that of the client (`interrupted`, `needs_user`, `sent_back`), a status, or `mixed`
for more than one attempt.
"""

from __future__ import annotations

from datetime import datetime, timezone

from ..core import batch_state
from .report_data import Bar, Lane, Mark, Span, TimeLine

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Callable, Iterator, List, Optional, Sequence

    from ..core.batch_state import State

LANE_PX, AXIS_PX, BAR_PX = 22, 28, 10
MAX_TICKS = 6
STEPS_S = tuple(
    60 * minutes for minutes in (1, 2, 5, 10, 15, 30, 60, 120, 180, 360, 720, 1440, 2880, 7 * 1440, 14 * 1440)
)
MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
HOLLOW = ("failed", "sent_back", "needs_user")
OUTCOME_WORDS = {
    "done": "done", "failed": "failed", "skipped": "skipped", "running": "running", "mixed": "several attempts",
    "interrupted": "interrupted", "needs_user": "needs you", "sent_back": "sent back", "merged": "merged",
}  # fmt: skip


def parse_time(time: object) -> Optional[float]:
    """Return a time of the state as seconds since 1970, or None for anything else."""
    if type(time) is not str or len(time) > 40:
        return None
    try:
        parsed = datetime.fromisoformat(time[:-1] + "+00:00" if time.endswith("Z") else time)
        return (parsed if parsed.tzinfo else parsed.replace(tzinfo=timezone.utc)).timestamp()
    except (ValueError, OverflowError):
        return None


def seconds_between(since: object, until: object) -> Optional[float]:
    """Return the seconds from one time of the state to another, at least 0; None when one of them is invalid."""
    begin, end = parse_time(since), parse_time(until)
    return None if begin is None or end is None else max(0.0, end - begin)


def build_timeline(state: State, at: str) -> Optional[TimeLine]:
    """Return the time line of a batch at the time `at`; None before anything has begun."""
    run = state.get("run")
    lanes = [lane for lane in (_lanes_of_clients(run, at) if run else _lanes_of_timings(state, at)) if lane.bars]
    if not lanes:
        return None
    lanes.sort(key=lambda lane: (parse_time(lane.bars[0].since), lane.number))
    waits = [Span(entry["since"], entry["until"]) for entry in (run or {}).get("waits", ())]
    if run and run.get("waiting"):
        waits.append(Span(run["waiting"]["since"], at))
    waits = [wait for wait in waits if seconds_between(wait.since, wait.until) is not None]
    spans: List[Span] = [*(bar for lane in lanes for bar in lane.bars), *waits]
    spans += [Span(mark.at, mark.at) for lane in lanes for mark in lane.marks]
    begin = min(spans, key=lambda span: parse_time(span.since) or 0.0).since
    end = max(spans, key=lambda span: parse_time(span.until) or 0.0).until
    return TimeLine(begin, end, lanes, waits)


def client_outcome(outcome: Optional[str]) -> str:
    """Return the outcome of a client in the words of the time line."""
    name = "done" if outcome == "completed" else outcome or ""
    return name if name in OUTCOME_WORDS else "mixed"


def _bars(since: str, until: str, outcome: str, attempt: int) -> Iterator[Bar]:
    if seconds_between(since, until) is not None:
        yield Bar(since, until, outcome, attempt)


def _lanes_of_clients(run: State, at: str) -> Iterator[Lane]:
    merged_at = {entry["feature_index"]: entry["timestamp"] for entry in run.get("merges", ())}
    clients, running = run.get("clients", {}), run.get("running", {})
    for name in dict.fromkeys((*clients, *running)):
        bars = [
            bar
            for client in clients.get(name, ())
            for bar in _bars(
                client["started_at"], client["ended_at"], client_outcome(client["outcome"]), client["attempt"]
            )
        ]
        if name in running:
            bars += _bars(running[name]["started_at"], at, "running", running[name]["attempt"])
        time = merged_at.get(int(name), "")
        yield Lane(int(name) + 1, bars, [] if parse_time(time) is None else [Mark(time, "merged")])


def _lanes_of_timings(state: State, at: str) -> Iterator[Lane]:
    active = state["active"] or {"feature_index": None}
    now = state["pause"]["since"] if state["pause"] else at
    failed, skipped = batch_state.failed_indices(state), batch_state.skipped_indices(state)
    for name, timing in state.get("timings", {}).items():
        index = int(name)
        ended = [entry["timestamp"] for entry in state.get("attempts", {}).get(name, ())]
        marks = [Mark(time, "failed") for time in ended if parse_time(time) is not None]
        attempts = batch_state.attempts_used(state, index)
        begin, until = timing.get("started_at", ""), timing.get("ended_at", ended[-1] if ended else now)
        bars: List[Bar] = []
        if index == active["feature_index"]:
            if ended:
                bars += _bars(begin, ended[-1], "mixed" if attempts > 1 else "failed", attempts)
            bars += _bars(active["started_at"], now, "running", active["attempt"])
        elif index in failed or index in skipped or "ended_at" not in timing:
            outcome = "skipped" if index in skipped else "failed"
            bars += _bars(begin, until, "mixed" if attempts > 1 else outcome, max(attempts, 1))
        else:
            bars += _bars(begin, until, "mixed" if attempts else "done", attempts + 1)
            marks += [Mark(until, "done")] if attempts and parse_time(until) is not None else []
        yield Lane(index + 1, bars, marks)


# -- SVG ---------------------------------------------------------------------------------------------------------------


def axis_ticks(begin_s: float, end_s: float) -> List[float]:
    """Return at most MAX_TICKS round times (seconds since 1970, UTC) from `begin_s` to `end_s`."""
    span = max(end_s - begin_s, 1.0)
    step = next((step for step in STEPS_S if span / step <= MAX_TICKS - 1), 86400 * (1 + int(span / 86400 / 4)))
    first = -(-int(begin_s) // step) * step
    return [float(time) for time in range(first, int(end_s) + 1, step)]


def format_tick(time_s: float) -> str:
    """Return a time for an axis, in UTC: `23:40`; at midnight the day, `1 Feb`."""
    time = datetime.fromtimestamp(time_s, timezone.utc)
    if time.hour or time.minute:
        return f"{time.hour:02}:{time.minute:02}"
    return f"{time.day} {MONTHS[time.month - 1]}"


def render_svg(time_line: TimeLine, lanes: Sequence[Lane]) -> str:
    """Return these lanes of a time line as one SVG element, coloured by classes."""
    begin, end = parse_time(time_line.begin) or 0.0, parse_time(time_line.end) or 0.0
    span = max(end - begin, 1.0)
    height = AXIS_PX + LANE_PX * len(lanes)

    def x(time: str) -> float:
        return 100 * ((parse_time(time) or begin) - begin) / span

    parts = [f'<svg class="line" role="img" aria-label="Time line" width="100%" height="{height}">']
    for wait in time_line.waits:
        left, right = x(wait.since), x(wait.until)
        parts.append(
            f'<rect class="band" x="{left:.2f}%" y="{AXIS_PX}" width="{max(right - left, 0.1):.2f}%" '
            f'height="{height - AXIS_PX}"><title>waited {_format_span(wait)}</title></rect>'
        )
    for tick in axis_ticks(begin, end):
        at = 100 * (tick - begin) / span
        anchor = "start" if at < 4 else "end" if at > 96 else "middle"
        parts.append(f'<line class="tick" x1="{at:.2f}%" x2="{at:.2f}%" y1="{AXIS_PX - 6}" y2="{height}"/>')
        parts.append(f'<text class="hour" x="{at:.2f}%" y="14" text-anchor="{anchor}">{format_tick(tick)}</text>')
    for row, lane in enumerate(lanes):
        parts += _render_lane(lane, AXIS_PX + row * LANE_PX + LANE_PX // 2, x)
    return "".join([*parts, "</svg>"])


def _render_lane(lane: Lane, middle: int, x: Callable[[str], float]) -> Iterator[str]:
    yield f'<line class="lane" x1="0" x2="100%" y1="{middle}" y2="{middle}"/>'
    for bar in lane.bars:
        left, right = x(bar.since), x(bar.until)
        hollow = " hollow" if bar.outcome in HOLLOW else ""
        yield (
            f'<rect class="bar {bar.outcome}{hollow}" x="{left:.2f}%" y="{middle - BAR_PX // 2}" rx="2" '
            f'width="{max(right - left, 0.15):.2f}%" height="{BAR_PX}"><title>Feature {lane.number}, attempt '
            f"{bar.attempt}: {OUTCOME_WORDS[bar.outcome]}, {_format_span(bar)}</title></rect>"
        )
    for mark in lane.marks:
        yield (
            f'<circle class="mark {mark.what}" cx="{x(mark.at):.2f}%" cy="{middle}" r="4"><title>Feature '
            f"{lane.number}: {OUTCOME_WORDS[mark.what]} at {_time_of_day(mark.at)}</title></circle>"
        )


def _format_span(span: Span) -> str:
    return f"{_time_of_day(span.since)} to {_time_of_day(span.until)} UTC"


def _time_of_day(time: str) -> str:
    return datetime.fromtimestamp(parse_time(time) or 0.0, timezone.utc).strftime("%H:%M")
