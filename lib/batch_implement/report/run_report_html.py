"""Render a run report as one self-contained HTML document: no network, no script, no other file. Pure.

    html = render_html(report, style)          from `run_report.build_report`; `style` is the text of report.css

Texts that others wrote go through `escape` into the content of an element, never into an attribute, a style or an
address; the only links are URLs that `formatting.tracker_url` passed. The page also forbids the browser to load or run
anything.
"""

from __future__ import annotations

from html import escape

from ..base.text import duration
from ..core.prompts import pluralize
from . import timeline
from .formatting import describe_effort, describe_use, format_dollars, format_time, short_commit, shown_counts

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Callable, Dict, Iterator, Optional, Sequence

    from .report_data import Client, Feature, Lane, Look, Need, Publication, Report

MAX_UNFOLDED = 60  # lanes of the time line, needs and looks; the rest is folded
MAX_SHOWN = 1000  # of them in all, and features with details
CONTENT_POLICY = "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'"
LEGEND = (
    (("done",), "", "done"), (("failed", "sent_back", "needs_user"), " hollow", "failed or sent back"),
    (("interrupted",), "", "interrupted"), (("running",), "", "running"), (("skipped",), "", "skipped"),
    (("mixed",), "", "several attempts"),
)  # fmt: skip


def render_html(report: Report, style: str) -> str:
    """Return the report as a whole HTML document."""
    parts = [
        "<!doctype html>",
        '<html lang="en"><head><meta charset="utf-8">',
        f'<meta http-equiv="Content-Security-Policy" content="{CONTENT_POLICY}">',
        '<meta name="viewport" content="width=device-width,initial-scale=1">',
        '<meta name="referrer" content="no-referrer"><meta name="robots" content="noindex">',
        f"<title>{escape(report.headline)}: {escape(report.batch_id)}</title>",
        f"<style>{style}</style></head><body><main>",
    ]
    steps = (f"<li>{escape(step.what)}<pre>{escape(step.command)}</pre></li>" for step in report.commands)
    parts += [
        *_html_header(report),
        _html_section("Needs you", _html_folded_list(report.needs, _html_need)),
        _html_section("Next steps", f'<ol class="steps">{"".join(steps)}</ol>') if report.commands else "",
        *_html_timeline(report),
        *_html_features(report),
        _html_section("Worth a look", _html_folded_list(report.looks, _html_look)),
        *_html_waits(report),
        *_html_facts(report),
    ]
    return "\n".join([*parts, "</main></body></html>\n"])


def _html_header(report: Report) -> Iterator[str]:
    yield f'<header><p class="soft small">batch-implement · {escape(report.batch_id)}</p>'
    yield f"<h1>{escape(report.headline)}</h1>"
    facts = [f'<span class="badge {report.verdict.split(" ")[0].strip(",")}">{escape(report.verdict)}</span>']
    facts += [f"{number:,} {status}" for status, number in shown_counts(report) if status != "done"]
    facts += describe_effort(report)
    yield f'<ul class="facts">{"".join(f"<li>{fact}</li>" for fact in facts)}</ul>'
    yield _html_meter(report)
    if report.run and report.run.ended_why:
        yield f'<p class="soft">The run ended: {escape(report.run.ended_why)}</p>'
    yield "</header>"


def _html_meter(report: Report) -> str:
    """Return a bar of the features by status."""
    left, parts = 0.0, []
    for status in ("done", "running", "merging", "failed", "skipped"):
        width = 100 * report.counts[status] / report.counts["total"]
        if width:
            parts.append(f'<rect class="part {status}" x="{left:.3f}%" width="{width:.3f}%" height="10"/>')
        left += width
    label = ", ".join(f"{number} {status}" for status, number in shown_counts(report))
    return f'<svg class="meter" role="img" aria-label="{label}" width="100%" height="10">{"".join(parts)}</svg>'


def _html_need(need: Need) -> str:
    parts = [f'<div class="card urgent {need.kind}"><h3>{escape(need.what)}</h3>']
    if need.said:
        parts.append(f"<pre>{escape(need.said)}</pre>")
    if need.where:
        parts.append(_html_definitions([(place.what, _html_code(place.name)) for place in need.where]))
    parts += (f"<pre>{escape(command)}</pre>" for command in need.commands)
    return "".join([*parts, "</div>"])


# -- the time line -----------------------------------------------------------------------------------------------------


def _html_timeline(report: Report) -> Iterator[str]:
    time_line = report.time_line
    if not time_line:
        return
    lanes = time_line.lanes
    charts = _html_folded(lanes, lambda some: _html_chart(report, some), "more features", "are not drawn")
    outcomes = {bar.outcome for lane in lanes for bar in lane.bars}
    entries = [
        (_html_legend_bar(f"bar {names[0]}{hollow}"), label)
        for names, hollow, label in LEGEND
        if outcomes.intersection(names)
    ]
    if any(lane.marks for lane in lanes):
        name, label = ("merged", "merged") if report.run else ("failed", "an attempt failed")
        entries.append((f'<circle class="mark {name}" cx="6" cy="5" r="4"/>', label))
    if time_line.waits:
        entries.append((_html_legend_bar("band"), "waiting"))
    legend = "".join(
        f'<li><svg width="18" height="10" aria-hidden="true">{shape}</svg> {label}</li>' for shape, label in entries
    )
    yield f'<section><h2>Time line</h2><div class="card">{charts}'
    yield f'<ul class="legend small soft">{legend}</ul></div></section>'


def _html_legend_bar(classes: str) -> str:
    return f'<rect class="{classes}" x="1" y="1" width="16" height="8" rx="2"/>'


def _html_chart(report: Report, lanes: Sequence[Lane]) -> str:
    names = "".join(
        f"<li><b>{lane.number}</b><span>{escape(report.features[lane.number - 1].text[:90])}</span></li>"
        for lane in lanes
    )
    svg = timeline.render_svg(report.time_line, lanes) if report.time_line else ""
    return f'<div class="chart"><ol class="names">{names}</ol><div>{svg}</div></div>'


# -- the features ------------------------------------------------------------------------------------------------------


def _html_features(report: Report) -> Iterator[str]:
    features = report.features
    detailed = {feature.number for feature in sorted(features, key=_is_unremarkable)[:MAX_SHOWN]}
    rows = [_html_feature(feature, feature.number in detailed) for feature in features]
    yield "<section><h2>Features</h2>"
    yield _html_folded(rows, lambda some: f'<ol class="rows">{"".join(some)}</ol>', "more features", "", len(rows))
    if len(features) > MAX_SHOWN:
        command = _html_code("batchctl report --format json")
        yield f'<p class="soft">Details of {MAX_SHOWN:,} features; {command} has those of all.</p>'
    yield "</section>"


def _is_unremarkable(feature: Feature) -> bool:
    """Return whether a feature is simply done or pending."""
    if feature.status not in ("done", "pending") or feature.failures or feature.sent_back:
        return False
    return not (feature.evidence and feature.evidence.needs_look())


def _html_feature(feature: Feature, has_details: bool) -> str:
    hollow = " hollow" if feature.status in ("skipped", "pending", "waiting") else ""
    amounts = [
        f"{feature.attempts} attempts" if feature.attempts > 1 else "",
        duration(feature.seconds),
        format_dollars(feature.cost_usd) if feature.cost_usd else "",
    ]
    row = (
        f'<span class="number">{feature.number}</span><span class="text">{escape(feature.text)}</span>'
        f'<span class="badge {feature.status}{hollow}">{feature.status}</span>'
        f'<span class="amount">{" · ".join(filter(None, amounts))}</span>'
    )
    details = _html_feature_details(feature) if has_details else ""
    if not details:
        return f'<li><div class="row">{row}</div></li>'
    return f'<li><details><summary class="row">{row}</summary><div class="details">{details}</div></details></li>'


def _html_feature_details(feature: Feature) -> str:
    parts = [f"<pre>{escape(feature.why)}</pre>"] if feature.why else []
    facts = list(_html_feature_facts(feature))
    if facts:
        parts.append(_html_definitions(facts))
    if feature.evidence and feature.evidence.review:
        parts.append(f"<h3>Review</h3><pre>{escape(feature.evidence.review)}</pre>")
    for failure in feature.failures:
        parts.append(f"<h3>Attempt {failure.attempt} failed</h3><pre>{escape(failure.message)}</pre>")
        places = (("snapshot", failure.snapshot), ("branch", failure.branch))
        facts = [("kind", escape(failure.failure_class or "")), ("at", format_time(failure.at))]
        parts.append(_html_definitions([*facts, *((name, _html_code(place)) for name, place in places if place)]))
    if feature.clients:
        parts.append(f"<h3>Clients</h3><ul>{''.join(map(_html_client, feature.clients))}</ul>")
    return "".join(parts)


def _html_feature_facts(feature: Feature) -> Iterator[tuple[str, str]]:
    """Yield what is known of a feature, as (name, HTML)."""
    verify, merge = feature.evidence and feature.evidence.verify, feature.merge
    if feature.issue:
        yield "issue", _html_link(feature.issue.url, f"#{feature.issue.number}")
    if feature.commit:
        earlier = len(feature.commits) - 1
        more = f" and {earlier} before it" if earlier > 0 else ""
        branch = f" on {_html_code(feature.branch)}" if feature.branch else ""
        yield "commit", f"{_html_code(short_commit(feature.commit))}{more}{branch}"
    if verify:
        yield "verified", f"{_html_code(verify.command)} passed{_in_duration(' in ', verify.seconds)}"
    review = feature.evidence.describe_verdict() if feature.evidence else ""
    if review:
        yield "review", review.rpartition(": ")[2]
    if merge:
        again = _in_duration(", verified again in ", merge.verify_seconds)
        if feature.evidence and feature.evidence.verified_with:
            again += f" with {', '.join(map(str, feature.evidence.verified_with))}"
        yield "merged", f"{format_time(merge.at)}{' on a new base' if merge.rebased else ''}{again}"
    if feature.sent_back:
        yield "sent back", f"{pluralize(feature.sent_back, 'time')} by the merge queue"
    for name, record in (("push", feature.push), ("pull request", feature.pull_request)):
        if record:
            yield name, _html_publication(record)
    if feature.turns:
        yield "used", describe_use(feature.turns, feature.cost_usd, feature.tokens or {})


def _in_duration(before: str, seconds: Optional[float]) -> str:
    return f"{before}{duration(seconds)}" if seconds else ""


def _html_publication(record: Publication) -> str:
    """Return where a push or a pull request is, and its error."""
    link = _html_link(record.url, f"#{record.number}") if record.number else ""
    error = f"error: {escape(record.error)}" if record.error else ""
    return ": ".join(filter(None, (link, error))) or "done"


def _html_client(client: Client) -> str:
    outcome = timeline.OUTCOME_WORDS[timeline.client_outcome(client.outcome)]
    kind = f" ({escape(client.failure_class)})" if client.failure_class else ""
    message = f": {escape(client.message)}" if client.message and client.outcome != "failed" else ""
    places = (("worktree", client.worktree), ("logs", client.logs))
    kept = "".join(f"<br>{name} {_html_code(place)}" for name, place in places if place)
    kept += "".join(
        f"<br>{pluralize(count, 'tool call')} refused; <code>--allow</code> {_html_code(rule)} allows that"
        for rule, count in client.refusals.items()
    )
    host = f" on {escape(client.place)}" if client.place else ""
    return (
        f"<li>attempt {client.attempt}, {format_time(client.since)}, {duration(client.seconds)}{host}: "
        f"{outcome}{kind}{message}{kept}</li>"
    )


# -- the rest ----------------------------------------------------------------------------------------------------------


def _html_look(look: Look) -> str:
    text = f"<p>{escape(look.said)}</p>" if look.said else ""
    if look.kind == "decision":
        head = f'<p class="soft small">{look.subject} · decided by default</p><h3>{escape(look.what)}</h3>'
        return f'<div class="card">{head}{text}</div>'
    return f'<div class="card"><h3>{look.subject} {escape(look.what)}</h3>{text}</div>'


def _html_waits(report: Report) -> Iterator[str]:
    if not report.waits:
        return
    rows = "".join(
        f"<tr><td>{format_time(wait.since)}</td><td>{duration(wait.seconds) or 'still waiting'}</td>"
        f"<td>{escape(wait.reason or '')}</td></tr>"
        for wait in report.waits[:MAX_SHOWN]
    )
    head = "<thead><tr><th>since</th><th>duration</th><th>reason</th></tr></thead>"
    yield _html_section("Waits", f'<div class="card"><table class="waits">{head}<tbody>{rows}</tbody></table></div>')


def _html_facts(report: Report) -> Iterator[str]:
    run = report.run
    if report.spent:
        amounts = "".join(
            f'<tr><th scope="row">{name}</th><td>{amount}</td></tr>'
            for name, amount in _amounts(report.spent, report.budgets)
        )
        table = f'<table class="amounts"><tbody>{amounts}</tbody></table>'
        yield _html_section("Cost and tokens", f'<div class="card">{table}</div>')
    facts = [("features from", _html_code(report.source) if report.source else "")]
    if run:
        commits = " to ".join(short_commit(commit) for commit in (run.base_commit, run.head) if commit)
        facts.append(("branch", f"{_html_code(run.branch or '')} ({escape(commits)})"))
        facts.append(("run", f"{format_time(run.started_at)}, {pluralize(run.jobs, 'job')}"))
    elif report.branch:
        facts.append(("branch", _html_code(report.branch)))
    if report.pull_request:
        facts.append(("pull request", _html_publication(report.pull_request)))
    verify = report.policy["verify"]
    facts.append(("verify", _html_code(verify) if verify else "none: only a commit was required"))
    facts.append(("evidence", escape(", ".join(report.policy["evidence"]))))
    facts.append(("created", format_time(report.created_at)))
    card = f'<div class="card">{_html_definitions([fact for fact in facts if fact[1]])}</div>'
    yield _html_section("This batch", card)
    yield f"<footer>As of {format_time(report.at)}. All times are UTC.</footer>"


def _amounts(spent: Dict[str, float], budgets: Dict[str, float]) -> Iterator[tuple[str, str]]:
    limit = f" of {format_dollars(budgets['cost_usd'])}" if "cost_usd" in budgets else ""
    max_wait = f" of {duration(budgets['wait_s'])}" if "wait_s" in budgets else ""
    yield "cost, as reported by the clients", f"{format_dollars(spent.get('cost_usd', 0))}{limit}"
    for name, label in (("clients", "clients"), ("turns", "turns"), ("input_tokens", "tokens read"),
                        ("cache_read_tokens", "tokens read from the cache"),
                        ("cache_creation_tokens", "tokens written to the cache"),
                        ("output_tokens", "tokens written")):  # fmt: skip
        yield label, f"{spent.get(name, 0):,.0f}"
    yield "work of all clients", duration(spent.get("worked_s", 0))
    yield "waiting", f"{duration(spent.get('waited_s', 0))}{max_wait}"


def _html_code(text: str) -> str:
    return f"<code>{escape(text)}</code>"


def _html_link(url: Optional[str], label: str) -> str:
    """Return a link, with its URL to read, to a URL that `tracker_url` passed; without one, the label."""
    if not url:
        return label
    return (
        f'<a href="{escape(url)}" rel="noreferrer noopener">{label}</a> <span class="soft small">{escape(url)}</span>'
    )


def _html_definitions(facts: Sequence[tuple[str, str]]) -> str:
    return f"<dl>{''.join(f'<dt>{name}</dt><dd>{value}</dd>' for name, value in facts)}</dl>"


def _html_section(title: str, content: str) -> str:
    return content and f"<section><h2>{title}</h2>{content}</section>"


def _html_folded_list(entries: Sequence[Any], render: Callable[[Any], str]) -> str:
    return _html_folded(entries, lambda some: "".join(map(render, some)), "more", "are in the JSON report")


def _html_folded(
    entries: Sequence[Any], render: Callable[[Sequence[Any]], str], title: str, beyond: str, limit: int = MAX_SHOWN
) -> str:
    """Return the first entries, then the others folded; beyond `limit` only their number and where they are."""
    shown = render(entries[:MAX_UNFOLDED])
    if len(entries) <= MAX_UNFOLDED:
        return shown
    more = render(entries[MAX_UNFOLDED:limit])
    if len(entries) > limit:
        more += f'<p class="soft">{len(entries) - limit:,} more {beyond}.</p>'
    summary = f"<summary>{len(entries) - MAX_UNFOLDED:,} {title}</summary>"
    return f'{shown}<details class="fold">{summary}{more}</details>'
