"""The morning report as Markdown: for a terminal, a pull request, a chat. Pure.

    text = markdown(data)                       from `morning.report_data`
    text = markdown(data, longest=60_000)       cut at a line: what takes a text of that many characters at most

Every text that is not ours stands in a code span or a fenced block, so that it is nothing but text wherever this is
shown: no heading, link, image, HTML, mention or reference. The only links are those that `shown.link` passed.
"""

from __future__ import annotations

import re

from ..base.text import duration
from ..core.prompts import pluralize
from .formatting import STATUS_WORDS, format_dollars, format_time, short_commit

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Dict, Iterator, List, Optional

    Data = Dict[str, Any]

MOST = 100  # of what is listed beside the features
LONGEST_TEXT, LONGEST_FAILURE = 160, 300  # characters of a feature, of why an attempt failed, in their lines
_TICKS = re.compile("`+")


def render_markdown(data: Data, longest: int = 0) -> str:
    """The report as Markdown. `longest` is the most characters it may have; 0 for no limit."""
    lines: List[str] = []
    left = longest
    for line in _lines(data):
        left -= len(line) + 1
        if longest and left < 200:
            return "\n".join([*lines, "", "The rest is in `batchctl report`.", ""])
        lines.append(line)
    return "\n".join([*lines, ""])


def span(text: Optional[str]) -> str:
    """A text that is not ours on one line, as a code span; empty for none."""
    words = " ".join((text or "").split())
    if not words:
        return ""
    ticks = "`" * (1 + max(map(len, _TICKS.findall(words)), default=0))
    pad = " " if "`" in (words[0], words[-1]) else ""
    return f"{ticks}{pad}{words}{pad}{ticks}"


def fence(text: str, indent: str = "") -> Iterator[str]:
    """A text that is not ours as a fenced block of lines; nothing for none."""
    if not text:
        return
    ticks = "`" * max(3, 1 + max(map(len, _TICKS.findall(text)), default=0))
    yield f"{indent}{ticks}text"
    yield from (f"{indent}{line}" for line in text.splitlines())
    yield f"{indent}{ticks}"


def _lines(data: Data) -> Iterator[str]:
    yield f"# {data['headline']}"
    yield ""
    yield f"Batch {span(data['batch_id'])}: **{data['verdict']}**. {' · '.join(_summary(data))}"
    run = data["run"]
    if run and run["ended_why"]:
        yield ""
        yield f"The run ended: {span(run['ended_why'])}"
    yield from _needs(data)
    yield from _commands(data)
    yield from _features(data)
    yield from _looks(data)
    yield from _waits(data)
    yield from _figures(data)


def _summary(data: Data) -> Iterator[str]:
    counts = data["counts"]
    yield ", ".join(f"{counts[name]:,} {STATUS_WORDS[name]}" for name in STATUS_WORDS if counts[name])
    if data["took_s"] is not None:
        yield f"{duration(data['took_s'])} since it was created"
    if data["spent"] and data["spent"].get("cost_usd"):
        yield format_dollars(data["spent"]["cost_usd"])
    yield f"as of {format_time(data['at'])}"


def _section(title: str, items: List[Any], word: str) -> Iterator[str]:
    """A heading, and how many of the items are not shown."""
    yield ""
    yield f"## {title}"
    yield ""
    if len(items) > MOST:
        yield f"The first {MOST} of {len(items):,} {word}; all are in `batchctl report --format json`."
        yield ""


def _needs(data: Data) -> Iterator[str]:
    if not data["needs"]:
        return
    yield from _section("Needs you", data["needs"], "things")
    for need in data["needs"][:MOST]:
        yield f"- **{need['what']}**"
        yield ""
        yield from fence(need["said"], "  ")
        yield from (f"  - {place['what']}: {span(place['name'])}" for place in need["where"])
        yield from (f"  - {span(command)}" for command in need["commands"])


def _commands(data: Data) -> Iterator[str]:
    if not data["commands"]:
        return
    yield from _section("How to go on", data["commands"], "commands")
    for number, step in enumerate(data["commands"], 1):
        yield f"{number}. {step['what']}:"
        yield ""
        yield from fence(step["command"], "   ")


def _features(data: Data) -> Iterator[str]:
    yield ""
    yield "## Features"
    yield ""
    for feature in data["features"]:
        text = feature["text"]
        words = text if len(text) <= LONGEST_TEXT else f"{text[:LONGEST_TEXT]}..."
        parts = [f"- {feature['number']}. **{STATUS_WORDS[feature['status']]}** {span(words)}"]
        parts += _facts(feature)
        yield ", ".join(part for part in parts if part)
        if feature["why"] and feature["status"] == "skipped":
            yield f"  - {span(feature['why'])}"
        for failure in feature["failures"]:
            kept = f"; stash {span(failure['stash'])}" if failure["stash"] else ""
            said = span(failure["message"][:LONGEST_FAILURE])
            yield f"  - attempt {failure['attempt']} failed ({span(failure['failure_class'])}): {said}{kept}"


def _facts(feature: Data) -> Iterator[str]:
    if feature["commit"]:
        yield f"commit {span(short_commit(feature['commit']))}"
    proof = feature["evidence"]
    if proof and proof["verify"]:
        yield f"verify passed{_within(proof['verify']['seconds'])}"
    if proof and proof["no_change"]:
        yield "no change needed"
    if feature["attempts"] > 1:
        yield pluralize(feature["attempts"], "attempt")
    yield duration(feature["seconds"])
    if feature["cost_usd"]:
        yield format_dollars(feature["cost_usd"])
    opened = feature["pull_request"]
    if opened and opened["url"]:
        yield f"<{opened['url']}>"


def _within(seconds: Optional[float]) -> str:
    return "" if seconds is None else f" in {duration(seconds)}"


def _looks(data: Data) -> Iterator[str]:
    if not data["looks"]:
        return
    yield from _section("For a look", data["looks"], "entries")
    for look in data["looks"][:MOST]:
        about = f"Feature {look['number']}" if look["number"] else "Between features"
        if look["kind"] == "decision":
            yield f"- {about}, decided by default: {span(look['what'])}: {span(look['said'])}"
        else:
            said = f": {span(look['said'])}" if look["said"] else ""
            yield f"- {about} {look['what']}{said}"


def _waits(data: Data) -> Iterator[str]:
    if not data["waits"]:
        return
    yield from _section("Waits", data["waits"], "waits")
    for wait in data["waits"][:MOST]:
        until = f"until {format_time(wait['until'])}" if wait["until"] else "and still waits"
        length = f" ({duration(wait['seconds'])})" if wait["seconds"] is not None else ""
        yield f"- {format_time(wait['since'])} {until}{length}: {span(wait['reason'])}"


def _figures(data: Data) -> Iterator[str]:
    yield ""
    yield "## This batch"
    yield ""
    run, spent = data["run"], data["spent"]
    if run:
        into = f" from {span(run['base_commit'])}" if run["base_commit"] else ""
        head = f" to {span(run['head'])}" if run["head"] else ""
        yield f"- Branch {span(run['branch'])}{into}{head}"
    opened = data["pull_request"]
    if opened and opened["url"]:
        yield f"- Pull request <{opened['url']}>"
    verify = span(data["policy"]["verify"])
    yield f"- {f'{verify} must pass on each commit' if verify else 'No verify command: only a commit was asked for'}"
    if data["source"]:
        yield f"- Features from {span(data['source'])}"
    if spent:
        read = spent.get("input_tokens", 0) + spent.get("cache_read_tokens", 0) + spent.get("cache_creation_tokens", 0)
        used = (
            (
                f", {spent['turns']:,} turns, {format_dollars(spent.get('cost_usd', 0))}; {read:,} tokens read, "
                f"{spent.get('output_tokens', 0):,} written"
            )
            if spent.get("turns")
            else ""
        )
        yield f"- {pluralize(int(spent.get('clients', 0)), 'client')}{used}"
        worked, waited = duration(spent.get("worked_s", 0)), duration(spent.get("waited_s", 0))
        yield f"- {worked} of work by clients, {waited} of waiting"
