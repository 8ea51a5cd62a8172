"""When what happened in a batch: its time line as plain data, and the same drawn as SVG. Pure.

    line = of(state, at)      {begin, end, lanes: [{number, bars, marks}], waits}, times as the state has them
    svg(line, lanes)          a picture of these lanes; widths are in percent, so that it fits any screen
    ticks(begin_s, end_s)     round moments in between, for its axis
    seconds(text), between(since, until), written(seconds)      times of the state, and one for a person

A lane is a feature. After `batchctl run` it has a bar for each client and a mark where it was merged. Without, it has
one bar from its first start to its end, and marks where attempts failed: other features may have run in between, and
when the next attempt began is known only of the one that is open. A bar's `outcome` is that of its client, or
`completed`, `failed`, `skipped`, `active` and `mixed` (more than one attempt).
"""

from __future__ import annotations

from datetime import datetime, timezone

from ..core import batch_state

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Dict, Iterator, List, Optional, Sequence

    from ..core.batch_state import State

    Data = Dict[str, Any]

LANE_PX, AXIS_PX, BAR_PX = 22, 28, 10
MAX_TICKS = 6
STEPS_S = tuple(
    60 * minutes for minutes in (1, 2, 5, 10, 15, 30, 60, 120, 180, 360, 720, 1440, 2880, 7 * 1440, 14 * 1440)
)
MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
HOLLOW = ("failed", "sent_back", "needs_user")
OUTCOME_WORDS = {
    "completed": "done", "failed": "failed", "skipped": "skipped", "active": "open", "mixed": "several attempts",
    "interrupted": "interrupted", "needs_user": "needs a person", "sent_back": "sent back", "merged": "merged",
}  # fmt: skip


def parse_time(moment: object) -> Optional[float]:
    """A time of the state in seconds since 1970; None for what is no time."""
    if type(moment) is not str or len(moment) > 40:
        return None
    try:
        found = datetime.fromisoformat(moment[:-1] + "+00:00" if moment.endswith("Z") else moment)
        return (found if found.tzinfo else found.replace(tzinfo=timezone.utc)).timestamp()
    except (ValueError, OverflowError):
        return None


def seconds_between(since: object, until: object) -> Optional[float]:
    """Seconds from one time of the state to another, never below 0; None when one of them is none."""
    begin, end = parse_time(since), parse_time(until)
    return None if begin is None or end is None else max(0.0, end - begin)


def build_timeline(state: State, at: str) -> Optional[Data]:
    """The time line of a batch at the time `at`, features in the order in which they began; None when nothing has."""
    run = state.get("run")
    lanes = [
        lane for lane in (_lanes_of_clients(state, run, at) if run else _lanes_of_timings(state, at)) if lane["bars"]
    ]
    lanes.sort(key=lambda lane: (parse_time(lane["bars"][0]["since"]), lane["number"]))
    if not lanes:
        return None
    waits = [_span(entry["since"], entry["until"]) for entry in (run or {}).get("waits", ())]
    if run and run.get("waiting"):
        waits.append(_span(run["waiting"]["since"], at))
    waits = [wait for wait in waits if seconds_between(wait["since"], wait["until"]) is not None]
    spans = [bar for lane in lanes for bar in lane["bars"]] + waits
    marks = [{"since": mark["at"], "until": mark["at"]} for lane in lanes for mark in lane["marks"]]
    begin = min(spans + marks, key=lambda span: parse_time(span["since"]) or 0.0)["since"]
    end = max(spans + marks, key=lambda span: parse_time(span["until"]) or 0.0)["until"]
    return {"begin": begin, "end": end, "lanes": lanes, "waits": waits}


def _span(since: str, until: str) -> Data:
    return {"since": since, "until": until}


def _bar(since: str, until: str, outcome: str, attempt: int) -> Iterator[Data]:
    if seconds_between(since, until) is not None:
        yield {**_span(since, until), "outcome": outcome if outcome in OUTCOME_WORDS else "mixed", "attempt": attempt}


def _lanes_of_clients(state: State, run: State, at: str) -> Iterator[Data]:
    merged = {entry["feature_index"]: entry["timestamp"] for entry in run.get("merges", ())}
    known, open_now = run.get("clients", {}), run.get("running", {})
    for name in dict.fromkeys((*known, *open_now)):
        bars = [
            bar
            for client in known.get(name, ())
            for bar in _bar(client["started_at"], client["ended_at"], client["outcome"], client["attempt"])
        ]
        if name in open_now:
            bars += _bar(open_now[name]["started_at"], at, "active", open_now[name]["attempt"])
        moment = merged.get(int(name))
        marks = [{"at": moment, "what": "merged"}] if parse_time(moment) is not None else []
        yield {"number": int(name) + 1, "bars": bars, "marks": marks}


def _lanes_of_timings(state: State, at: str) -> Iterator[Data]:
    active = state["active"] or {"feature_index": None}
    now = state["pause"]["since"] if state["pause"] else at
    failed, skipped = batch_state.failed_indices(state), batch_state.skipped_indices(state)
    for name, timing in state.get("timings", {}).items():
        index = int(name)
        ended = [entry["timestamp"] for entry in state.get("attempts", {}).get(name, ())]
        marks = [{"at": moment, "what": "failed"} for moment in ended if parse_time(moment) is not None]
        number = batch_state.attempts_used(state, index)
        begin, until = timing.get("started_at", ""), timing.get("ended_at", ended[-1] if ended else now)
        bars: List[Data] = []
        if index == active["feature_index"]:
            if ended:
                bars += _bar(begin, ended[-1], "mixed" if number > 1 else "failed", number)
            bars += _bar(active["started_at"], now, "active", active["attempt"])
        elif index in failed or index in skipped or "ended_at" not in timing:
            outcome = "skipped" if index in skipped else "failed"
            bars += _bar(begin, until, "mixed" if number > 1 else outcome, max(number, 1))
        else:
            bars += _bar(begin, until, "mixed" if number else "completed", number + 1)
            marks += [{"at": until, "what": "completed"}] if number and parse_time(until) is not None else []
        yield {"number": index + 1, "bars": bars, "marks": marks}


# -- drawn -------------------------------------------------------------------------------------------------------------


def axis_ticks(begin_s: float, end_s: float) -> List[float]:
    """Round moments (seconds since 1970, in UTC) from `begin_s` to `end_s`, at most MOST_TICKS."""
    span = max(end_s - begin_s, 1.0)
    step = next((step for step in STEPS_S if span / step <= MAX_TICKS - 1), 86400 * (1 + int(span / 86400 / 4)))
    first = -(-int(begin_s) // step) * step
    return [float(moment) for moment in range(first, int(end_s) + 1, step)]


def format_tick(moment_s: float) -> str:
    """A moment in UTC for an axis: `23:40`, at midnight the day, `1 Feb`."""
    moment = datetime.fromtimestamp(moment_s, timezone.utc)
    if moment.hour or moment.minute:
        return f"{moment.hour:02}:{moment.minute:02}"
    return f"{moment.day} {MONTHS[moment.month - 1]}"


def render_svg(line: Data, lanes: Sequence[Data]) -> str:
    """A picture of these lanes of a time line, as one SVG element; colours are those of the classes that it names."""
    begin, end = parse_time(line["begin"]) or 0.0, parse_time(line["end"]) or 0.0
    span = max(end - begin, 1.0)
    height = AXIS_PX + LANE_PX * len(lanes)

    def x(moment: object) -> float:
        return 100 * ((parse_time(moment) or begin) - begin) / span

    parts = [f'<svg class="line" role="img" aria-label="Time line" width="100%" height="{height}">']
    for wait in line["waits"]:
        left, right = x(wait["since"]), x(wait["until"])
        parts.append(
            f'<rect class="band" x="{left:.2f}%" y="{AXIS_PX}" width="{max(right - left, 0.1):.2f}%" '
            f'height="{height - AXIS_PX}"><title>waited {_format_span(wait)}</title></rect>'
        )
    for moment in axis_ticks(begin, end):
        at = 100 * (moment - begin) / span
        anchor = "start" if at < 4 else "end" if at > 96 else "middle"
        parts.append(f'<line class="tick" x1="{at:.2f}%" x2="{at:.2f}%" y1="{AXIS_PX - 6}" y2="{height}"/>')
        parts.append(f'<text class="hour" x="{at:.2f}%" y="14" text-anchor="{anchor}">{format_tick(moment)}</text>')
    for row, lane in enumerate(lanes):
        parts += _render_lane(lane, AXIS_PX + row * LANE_PX + LANE_PX // 2, x)
    parts.append("</svg>")
    return "".join(parts)


def _render_lane(lane: Data, middle: int, x: Any) -> Iterator[str]:
    yield f'<line class="lane" x1="0" x2="100%" y1="{middle}" y2="{middle}"/>'
    for bar in lane["bars"]:
        left, right = x(bar["since"]), x(bar["until"])
        hollow = " hollow" if bar["outcome"] in HOLLOW else ""
        yield (
            f'<rect class="bar {bar["outcome"]}{hollow}" x="{left:.2f}%" y="{middle - BAR_PX // 2}" rx="2" '
            f'width="{max(right - left, 0.15):.2f}%" height="{BAR_PX}"><title>Feature {lane["number"]}, attempt '
            f"{bar['attempt']}: {OUTCOME_WORDS[bar['outcome']]}, {_format_span(bar)}</title></rect>"
        )
    for mark in lane["marks"]:
        yield (
            f'<circle class="mark {mark["what"]}" cx="{x(mark["at"]):.2f}%" cy="{middle}" r="4"><title>Feature '
            f"{lane['number']}: {OUTCOME_WORDS[mark['what']]} at {_time_of_day(mark['at'])}</title></circle>"
        )


def _format_span(span: Data) -> str:
    return f"{_time_of_day(span['since'])} to {_time_of_day(span['until'])} UTC"


def _time_of_day(moment: str) -> str:
    """The time of day: `23:59`. A moment comes here only once it is known to be one."""
    return datetime.fromtimestamp(parse_time(moment) or 0.0, timezone.utc).strftime("%H:%M")


def write_time(moment_s: float) -> str:
    """A moment in UTC for a person: `1 Feb 2026, 00:14 UTC`."""
    moment = datetime.fromtimestamp(moment_s, timezone.utc)
    return f"{moment.day} {MONTHS[moment.month - 1]} {moment.year}, {moment.hour:02}:{moment.minute:02} UTC"
