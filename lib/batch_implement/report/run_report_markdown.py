"""Render a run report as Markdown: for a terminal, a pull request, a chat. Pure.

    text = render_markdown(report)          from `run_report.build_report`

Texts that others wrote are in code spans or fenced blocks, so that they can be no heading, link, image, HTML, mention
or reference. The only links are URLs that `formatting.tracker_url` passed.
"""

from __future__ import annotations

import re

from ..base.text import duration, one_line, shorten
from ..core.prompts import pluralize
from .formatting import describe_effort, describe_use, format_dollars, format_time, short_commit, shown_counts

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Callable, Iterator, List, Optional, Tuple

    from .report_data import Feature, Look, Need, Report, Step, Wait

MAX_ENTRIES = 100  # of each list but the features
MAX_FEATURE_CHARS = 160
_BACKTICKS = re.compile("`+")


def render_markdown(report: Report) -> str:
    """Return the report as Markdown."""
    return "\n".join([*_markdown_lines(report), ""])


def code_span(text: Optional[str]) -> str:
    """Return an untrusted text as a code span on one line; empty for no text."""
    words = " ".join((text or "").split())
    if not words:
        return ""
    ticks = "`" * (1 + max(map(len, _BACKTICKS.findall(words)), default=0))
    pad = " " if "`" in (words[0], words[-1]) else ""
    return f"{ticks}{pad}{words}{pad}{ticks}"


def fenced_block(text: str, indent: str = "") -> Iterator[str]:
    """Yield the lines of an untrusted text as a fenced block; nothing for no text."""
    if not text:
        return
    ticks = "`" * max(3, 1 + max(map(len, _BACKTICKS.findall(text)), default=0))
    yield f"{indent}{ticks}text"
    yield from (f"{indent}{line}" for line in text.splitlines())
    yield f"{indent}{ticks}"


def _markdown_lines(report: Report) -> Iterator[str]:
    counts = ", ".join(f"{number:,} {status}" for status, number in shown_counts(report))
    summary = [counts, *describe_effort(report), f"as of {format_time(report.at)}"]
    yield f"# {report.headline}"
    yield ""
    yield f"Batch {code_span(report.batch_id)}: **{report.verdict}**. {' · '.join(summary)}"
    if report.run and report.run.ended_why:
        yield ""
        yield f"The run ended: {code_span(report.run.ended_why)}"
    yield from _markdown_section("Needs you", report.needs, "entries", _markdown_need)
    yield from _markdown_section("Next steps", list(enumerate(report.commands, 1)), "commands", _markdown_step)
    yield from ("", "## Features", "")
    for feature in report.features:
        yield from _markdown_feature(feature)
    yield from _markdown_section("Worth a look", report.looks, "entries", _markdown_look)
    yield from _markdown_section("Waits", report.waits, "waits", _markdown_wait)
    yield from ("", "## This batch", "")
    yield from (f"- {fact}" for fact in _markdown_facts(report))


def _markdown_section(
    title: str, entries: List[Any], word: str, format_entry: Callable[[Any], Iterator[str]]
) -> Iterator[str]:
    """Yield a heading and the lines of the first MAX_ENTRIES entries; nothing without entries."""
    if not entries:
        return
    yield from ("", f"## {title}", "")
    if len(entries) > MAX_ENTRIES:
        yield f"The first {MAX_ENTRIES} of {len(entries):,} {word}; all are in `batchctl report --format json`."
        yield ""
    for entry in entries[:MAX_ENTRIES]:
        yield from format_entry(entry)


def _markdown_need(need: Need) -> Iterator[str]:
    yield f"- **{need.what}**"
    yield ""
    if need.said:
        yield from fenced_block(need.said, "  ")
    yield from (f"  - {place.what}: {code_span(place.name)}" for place in need.where)
    yield from (f"  - {code_span(command)}" for command in need.commands)


def _markdown_step(numbered: Tuple[int, Step]) -> Iterator[str]:
    number, step = numbered
    yield f"{number}. {step.what}:"
    yield ""
    yield from fenced_block(step.command, "   ")


def _markdown_feature(feature: Feature) -> Iterator[str]:
    text = code_span(shorten(feature.text, MAX_FEATURE_CHARS))
    facts = [f"- {feature.number}. **{feature.status}** {text}", *_markdown_feature_facts(feature)]
    yield ", ".join(filter(None, facts))
    if feature.why and feature.status == "skipped":
        yield f"  - {code_span(feature.why)}"
    for failure in feature.failures:
        snapshot = f"; snapshot {code_span(failure.snapshot)}" if failure.snapshot else ""
        message = code_span(one_line(failure.message))
        yield f"  - attempt {failure.attempt} failed ({code_span(failure.failure_class)}): {message}{snapshot}"

    for rule, count in feature.count_refusals().items():
        yield f"  - {pluralize(count, 'tool call')} refused; `batchctl run --allow` with {code_span(rule)} allows that"


def _markdown_feature_facts(feature: Feature) -> Iterator[str]:
    if feature.commit:
        yield f"commit {code_span(short_commit(feature.commit))}"
    evidence = feature.evidence
    if evidence and evidence.verify:
        seconds = evidence.verify.seconds
        yield "verify passed" if seconds is None else f"verify passed in {duration(seconds)}"
    if evidence:
        yield evidence.describe_verdict()
    if evidence and evidence.no_change:
        yield "no change needed"
    if feature.attempts > 1:
        yield pluralize(feature.attempts, "attempt")
    yield duration(feature.seconds)
    if feature.cost_usd:
        yield format_dollars(feature.cost_usd)
    if feature.pull_request and feature.pull_request.url:
        yield f"<{feature.pull_request.url}>"


def _markdown_look(look: Look) -> Iterator[str]:
    if look.kind == "decision":
        yield f"- {look.subject}, decided by default: {code_span(look.what)}: {code_span(look.said)}"
    else:
        yield f"- {look.subject} {look.what}{f': {code_span(look.said)}' if look.said else ''}"


def _markdown_wait(wait: Wait) -> Iterator[str]:
    until = f"until {format_time(wait.until)}" if wait.until else "and still waiting"
    length = f" ({duration(wait.seconds)})" if wait.seconds is not None else ""
    yield f"- {format_time(wait.since)} {until}{length}: {code_span(wait.reason)}"


def _markdown_facts(report: Report) -> Iterator[str]:
    run, spent = report.run, report.spent
    if run:
        into = f" from {code_span(run.base_commit)}" if run.base_commit else ""
        head = f" to {code_span(run.head)}" if run.head else ""
        yield f"Branch {code_span(run.branch)}{into}{head}"
    elif report.branch:
        yield f"Branch {code_span(report.branch)}"
    if report.pull_request and report.pull_request.url:
        yield f"Pull request <{report.pull_request.url}>"
    verify = code_span(report.policy["verify"])
    yield f"{verify} must pass on each commit" if verify else "No verify command: only a commit was required"
    if report.source:
        yield f"Features from {code_span(report.source)}"
    if spent:
        used = [pluralize(int(spent.get("clients", 0)), "client")]
        if spent.get("turns"):
            used.append(describe_use(spent["turns"], spent.get("cost_usd", 0), spent))
        yield ", ".join(used)
        worked, waited = duration(spent.get("worked_s", 0)), duration(spent.get("waited_s", 0))
        yield f"{worked} of work by clients, {waited} of waiting"
