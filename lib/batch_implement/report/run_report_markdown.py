"""Render a run report as Markdown: for a terminal, a pull request, a chat. Pure.

    text = render_markdown(report)          from `run_report.build_report`

Texts that others wrote are in code spans or fenced blocks, so that they can be no heading, link, image, HTML, mention
or reference. The only links are URLs that `formatting.tracker_url` passed.
"""

from __future__ import annotations

import re

from ..base.text import duration, one_line, shorten
from ..core.prompts import pluralize
from .formatting import format_dollars, format_time, short_commit
from .status_report import STATUSES

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Iterator, List, Optional

    from .report_data import Feature, Report

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
    yield f"# {report.headline}"
    yield ""
    yield f"Batch {code_span(report.batch_id)}: **{report.verdict}**. {' · '.join(_markdown_summary(report))}"
    run = report.run
    if run and run.ended_why:
        yield ""
        yield f"The run ended: {code_span(run.ended_why)}"
    yield from _markdown_needs(report)
    yield from _markdown_steps(report)
    yield from _markdown_features(report)
    yield from _markdown_looks(report)
    yield from _markdown_waits(report)
    yield from _markdown_facts(report)


def _markdown_summary(report: Report) -> Iterator[str]:
    counts = report.counts
    yield ", ".join(f"{counts[status]:,} {status}" for status in STATUSES if counts[status])
    if report.took_s is not None:
        yield f"{duration(report.took_s)} since it was created"
    if report.spent and report.spent.get("cost_usd"):
        yield format_dollars(report.spent["cost_usd"])
    yield f"as of {format_time(report.at)}"


def _markdown_section(title: str, items: List[Any], word: str) -> Iterator[str]:
    """Yield a heading, and how many of the items are shown if not all."""
    yield ""
    yield f"## {title}"
    yield ""
    if len(items) > MAX_ENTRIES:
        yield f"The first {MAX_ENTRIES} of {len(items):,} {word}; all are in `batchctl report --format json`."
        yield ""


def _markdown_needs(report: Report) -> Iterator[str]:
    if not report.needs:
        return
    yield from _markdown_section("Needs you", report.needs, "entries")
    for need in report.needs[:MAX_ENTRIES]:
        yield f"- **{need.what}**"
        yield ""
        yield from fenced_block(need.said, "  ")
        yield from (f"  - {place.what}: {code_span(place.name)}" for place in need.where)
        yield from (f"  - {code_span(command)}" for command in need.commands)


def _markdown_steps(report: Report) -> Iterator[str]:
    if not report.commands:
        return
    yield from _markdown_section("Next steps", report.commands, "commands")
    for number, step in enumerate(report.commands, 1):
        yield f"{number}. {step.what}:"
        yield ""
        yield from fenced_block(step.command, "   ")


def _markdown_features(report: Report) -> Iterator[str]:
    yield ""
    yield "## Features"
    yield ""
    for feature in report.features:
        text = code_span(shorten(feature.text, MAX_FEATURE_CHARS))
        yield ", ".join(
            filter(None, [f"- {feature.number}. **{feature.status}** {text}", *_markdown_feature_facts(feature)])
        )
        if feature.why and feature.status == "skipped":
            yield f"  - {code_span(feature.why)}"
        for failure in feature.failures:
            stash = f"; stash {code_span(failure.stash)}" if failure.stash else ""
            message = code_span(one_line(failure.message))
            yield f"  - attempt {failure.attempt} failed ({code_span(failure.failure_class)}): {message}{stash}"


def _markdown_feature_facts(feature: Feature) -> Iterator[str]:
    if feature.commit:
        yield f"commit {code_span(short_commit(feature.commit))}"
    evidence = feature.evidence
    if evidence and evidence.verify:
        seconds = evidence.verify.seconds
        yield "verify passed" if seconds is None else f"verify passed in {duration(seconds)}"
    if evidence and evidence.no_change:
        yield "no change needed"
    if feature.attempts > 1:
        yield pluralize(feature.attempts, "attempt")
    yield duration(feature.seconds)
    if feature.cost_usd:
        yield format_dollars(feature.cost_usd)
    if feature.pull_request and feature.pull_request.url:
        yield f"<{feature.pull_request.url}>"


def _markdown_looks(report: Report) -> Iterator[str]:
    if not report.looks:
        return
    yield from _markdown_section("Worth a look", report.looks, "entries")
    for look in report.looks[:MAX_ENTRIES]:
        subject = f"Feature {look.number}" if look.number else "Between features"
        if look.kind == "decision":
            yield f"- {subject}, decided by default: {code_span(look.what)}: {code_span(look.said)}"
        else:
            yield f"- {subject} {look.what}{f': {code_span(look.said)}' if look.said else ''}"


def _markdown_waits(report: Report) -> Iterator[str]:
    if not report.waits:
        return
    yield from _markdown_section("Waits", report.waits, "waits")
    for wait in report.waits[:MAX_ENTRIES]:
        until = f"until {format_time(wait.until)}" if wait.until else "and still waiting"
        length = f" ({duration(wait.seconds)})" if wait.seconds is not None else ""
        yield f"- {format_time(wait.since)} {until}{length}: {code_span(wait.reason)}"


def _markdown_facts(report: Report) -> Iterator[str]:
    yield ""
    yield "## This batch"
    yield ""
    run, spent = report.run, report.spent
    if run:
        into = f" from {code_span(run.base_commit)}" if run.base_commit else ""
        head = f" to {code_span(run.head)}" if run.head else ""
        yield f"- Branch {code_span(run.branch)}{into}{head}"
    if report.pull_request and report.pull_request.url:
        yield f"- Pull request <{report.pull_request.url}>"
    verify = code_span(report.policy["verify"])
    yield f"- {f'{verify} must pass on each commit' if verify else 'No verify command: only a commit was required'}"
    if report.source:
        yield f"- Features from {code_span(report.source)}"
    if spent:
        read = spent.get("input_tokens", 0) + spent.get("cache_read_tokens", 0) + spent.get("cache_creation_tokens", 0)
        used = [pluralize(int(spent.get("clients", 0)), "client")]
        if spent.get("turns"):
            used += [f"{spent['turns']:,} turns", format_dollars(spent.get("cost_usd", 0))]
            used += [f"{read:,} tokens read", f"{spent.get('output_tokens', 0):,} written"]
        yield f"- {', '.join(used)}"
        worked, waited = duration(spent.get("worked_s", 0)), duration(spent.get("waited_s", 0))
        yield f"- {worked} of work by clients, {waited} of waiting"
