"""The morning report as one HTML text that needs nothing else: no network, no script, no file beside it. Pure.

    text = html(data)           from `morning.report_data`

It is readable on a phone and in print, light and dark as the reader's system is. Every text that is not ours goes
through `escape` and stands in the content of an element, never in an attribute, a style or an address: the only links
are those that `shown.link` passed. The page forbids a browser to load or run anything, besides.
"""

from __future__ import annotations

from html import escape

from ..base.text import duration
from ..core.prompts import pluralize
from . import run_report_style, timeline
from .formatting import STATUS_WORDS, format_dollars, format_time, short_commit

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Callable, Dict, Iterator, List, Optional, Sequence

    Data = Dict[str, Any]

OPEN = 60  # lanes of the time line, needs and looks that are shown at once; the rest is folded
MOST = 1000  # of them in all, and features of which all is told
HOLDS = "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'"
LEGEND = (
    (("completed",), "", "done"), (("failed", "sent_back", "needs_user"), " hollow", "failed or sent back"),
    (("interrupted",), "", "interrupted"), (("active",), "", "open"), (("skipped",), "", "skipped"),
    (("mixed",), "", "several attempts"),
)  # fmt: skip


def render_html(data: Data) -> str:
    """The report as a whole HTML document."""
    parts = [
        "<!doctype html>",
        '<html lang="en"><head><meta charset="utf-8">',
        f'<meta http-equiv="Content-Security-Policy" content="{HOLDS}">',
        '<meta name="viewport" content="width=device-width,initial-scale=1">',
        '<meta name="referrer" content="no-referrer"><meta name="robots" content="noindex">',
        f"<title>{escape(data['headline'])}: {escape(data['batch_id'])}</title>",
        f"<style>{run_report_style.render_css(timeline.LANE_PX, timeline.AXIS_PX)}</style></head><body><main>",
    ]
    for section in (_header, _needs, _commands, _time_line, _features, _looks, _waits, _figures):
        parts += section(data)
    parts.append("</main></body></html>\n")
    return "\n".join(parts)


def _header(data: Data) -> Iterator[str]:
    counts, spent = data["counts"], data["spent"]
    yield f'<header><p class="soft small">batch-implement · {escape(data["batch_id"])}</p>'
    yield f"<h1>{escape(data['headline'])}</h1>"
    facts = [f'<span class="badge {data["verdict"].split(" ")[0].strip(",")}">{escape(data["verdict"])}</span>']
    facts += [f"{counts[name]:,} {word}" for name, word in STATUS_WORDS.items() if counts[name] and name != "completed"]
    if data["took_s"] is not None:
        facts.append(f"{duration(data['took_s'])} since it was created")
    if spent and spent.get("cost_usd"):
        facts.append(format_dollars(spent["cost_usd"]))
    yield f'<ul class="facts">{"".join(f"<li>{fact}</li>" for fact in facts)}</ul>'
    yield _meter(counts)
    if data["run"] and data["run"]["ended_why"]:
        yield f'<p class="soft">The run ended: {escape(data["run"]["ended_why"])}</p>'
    yield "</header>"


def _meter(counts: Dict[str, int]) -> str:
    """A bar of the features by their status."""
    at, parts = 0.0, []
    for name in ("completed", "active", "failed", "skipped"):
        width = 100 * counts[name] / counts["total"]
        parts.append(f'<rect class="part {name}" x="{at:.3f}%" width="{width:.3f}%" height="10"/>' if width else "")
        at += width
    label = ", ".join(f"{counts[name]} {word}" for name, word in STATUS_WORDS.items() if counts[name])
    return f'<svg class="meter" role="img" aria-label="{label}" width="100%" height="10">{"".join(parts)}</svg>'


# -- what a person does now --------------------------------------------------------------------------------------------


def _needs(data: Data) -> Iterator[str]:
    if data["needs"]:
        yield _section("Needs you", _folded(data["needs"], _need))


def _need(need: Data) -> str:
    parts = [f'<div class="card urgent {need["kind"]}"><h3>{escape(need["what"])}</h3>']
    if need["said"]:
        parts.append(f"<pre>{escape(need['said'])}</pre>")
    if need["where"]:
        parts.append(_listed([(place["what"], code(place["name"])) for place in need["where"]]))
    parts += (f"<pre>{escape(command)}</pre>" for command in need["commands"])
    return "".join([*parts, "</div>"])


def _commands(data: Data) -> Iterator[str]:
    if data["commands"]:
        steps = (f"<li>{escape(step['what'])}<pre>{escape(step['command'])}</pre></li>" for step in data["commands"])
        yield _section("How to go on", f'<ol class="steps">{"".join(steps)}</ol>')


# -- the time line -----------------------------------------------------------------------------------------------------


def _time_line(data: Data) -> Iterator[str]:
    line = data["time_line"]
    if not line:
        return
    lanes = line["lanes"]
    yield f'<section><h2>Time line</h2><div class="card">{_chart(data, lanes[:OPEN])}'
    if len(lanes) > OPEN:
        more = _chart(data, lanes[OPEN:MOST])
        beyond = f'<p class="soft">{len(lanes) - MOST:,} more are not drawn.</p>' if len(lanes) > MOST else ""
        yield _fold(f"{len(lanes) - OPEN:,} more features", more + beyond)
    seen = {bar["outcome"] for lane in lanes for bar in lane["bars"]}
    entries = [_sign(f"bar {names[0]}{hollow}", word) for names, hollow, word in LEGEND if seen.intersection(names)]
    if any(lane["marks"] for lane in lanes):
        entries.append(_mark("merged" if data["run"] else "failed", "merged" if data["run"] else "an attempt failed"))
    if line["waits"]:
        entries.append(_sign("band", "waiting"))
    yield f'<ul class="legend small soft">{"".join(entries)}</ul></div></section>'


def _chart(data: Data, lanes: Sequence[Data]) -> str:
    names = "".join(
        f"<li><b>{lane['number']}</b><span>{escape(data['features'][lane['number'] - 1]['text'][:90])}</span></li>"
        for lane in lanes
    )
    svg = timeline.render_svg(data["time_line"], lanes)
    return f'<div class="chart"><ol class="names">{names}</ol><div>{svg}</div></div>'


def _sign(names: str, word: str) -> str:
    box = f'<rect class="{names}" x="1" y="1" width="16" height="8" rx="2"/>'
    return f'<li><svg width="18" height="10" aria-hidden="true">{box}</svg> {word}</li>'


def _mark(name: str, word: str) -> str:
    dot = f'<circle class="mark {name}" cx="6" cy="6" r="4"/>'
    return f'<li><svg width="12" height="12" aria-hidden="true">{dot}</svg> {word}</li>'


# -- the features ------------------------------------------------------------------------------------------------------


def _features(data: Data) -> Iterator[str]:
    features = data["features"]
    told = {feature["number"] for feature in sorted(features, key=_is_plain)[:MOST]}
    rows = [_feature(feature, feature["number"] in told) for feature in features]
    yield "<section><h2>Features</h2>"
    yield f'<ol class="rows">{"".join(rows[:OPEN])}</ol>'
    if len(rows) > OPEN:
        yield _fold(f"{len(rows) - OPEN:,} more features", f'<ol class="rows">{"".join(rows[OPEN:])}</ol>')
    if len(features) > MOST:
        yield f'<p class="soft">More is told of {MOST:,} of them, all in {code("batchctl report --format json")}.</p>'
    yield "</section>"


def _is_plain(feature: Data) -> bool:
    """Whether there is nothing to tell of a feature but that it is done, or that its turn has not come."""
    if feature["status"] not in ("completed", "pending") or feature["failures"] or feature["sent_back"]:
        return False
    proof = feature["evidence"] or {}
    return not (proof.get("no_change") or proof.get("asserted") or proof.get("rewritten") or proof.get("foreign"))


def _feature(feature: Data, told: bool) -> str:
    status = feature["status"]
    hollow = " hollow" if status in ("skipped", "pending") else ""
    amounts = [duration(feature["seconds"]), format_dollars(feature["cost_usd"]) if feature["cost_usd"] else ""]
    if feature["attempts"] > 1:
        amounts.insert(0, f"{feature['attempts']} attempts")
    row = (
        f'<span class="number">{feature["number"]}</span><span class="text">{escape(feature["text"])}</span>'
        f'<span class="badge {status}{hollow}">{STATUS_WORDS[status]}</span>'
        f'<span class="amount">{" · ".join(amount for amount in amounts if amount)}</span>'
    )
    inside = _all_of(feature) if told else ""
    if not inside:
        return f'<li><div class="row">{row}</div></li>'
    return f'<li><details><summary class="row">{row}</summary><div class="told">{inside}</div></details></li>'


def _all_of(feature: Data) -> str:
    """All that there is to tell of a feature; empty when that is nothing."""
    parts = [f"<pre>{escape(feature['why'])}</pre>"] if feature["why"] else []
    facts = list(_facts(feature))
    if facts:
        parts.append(_listed(facts))
    proof = feature["evidence"]
    if proof and proof["review"]:
        parts.append(f"<h3>Review</h3><pre>{escape(proof['review'])}</pre>")
    for failure in feature["failures"]:
        parts.append(f"<h3>Attempt {failure['attempt']} failed</h3><pre>{escape(failure['message'])}</pre>")
        kept = [("kind", escape(failure["failure_class"])), ("at", format_time(failure["at"]))]
        kept += [(name, code(failure[name])) for name in ("stash", "branch") if failure[name]]
        parts.append(_listed(kept))
    if feature["clients"]:
        parts.append(f"<h3>Clients</h3><ul>{''.join(map(_client, feature['clients']))}</ul>")
    return "".join(parts)


def _facts(feature: Data) -> Iterator[tuple[str, str]]:
    """What is known of a feature, as (what, HTML)."""
    proof, merge, issue = feature["evidence"], feature["merge"], feature["issue"]
    if issue:
        yield "issue", _linked(issue["url"], f"#{issue['number']}")
    if feature["commit"]:
        more = len(feature["commits"]) - 1
        where = f" on {code(feature['branch'])}" if feature["branch"] else ""
        yield "commit", f"{code(short_commit(feature['commit']))}{f' and {more} before it' if more > 0 else ''}{where}"
    if proof and proof["verify"]:
        seconds = proof["verify"]["seconds"]
        yield "verified", f"{code(proof['verify']['command'])} passed{f' in {duration(seconds)}' if seconds else ''}"
    if proof and proof["no_change"]:
        yield "no change", escape(proof["no_change"])
    if proof and proof["asserted"]:
        yield "asserted", "by a script; nothing was checked"
    if merge:
        again = f", verified again in {duration(merge['verify_seconds'])}" if merge["verify_seconds"] else ""
        yield "merged", f"{format_time(merge['at'])}{' on a new base' if merge['rebased'] else ''}{again}"
    if feature["sent_back"]:
        yield "sent back", f"{pluralize(feature['sent_back'], 'time')} by the merge queue"
    for name, word in (("push", "push"), ("pull_request", "pull request")):
        record = feature[name]
        if record:
            yield word, _published(record)
    if feature["turns"]:
        yield "used", _tokens(feature["turns"], feature["cost_usd"], feature["tokens"])


def _published(record: Data) -> str:
    """Where a push or a pull request is, and what trouble there was with it."""
    where = _linked(record["url"], f"#{record['number']}") if record["number"] else ""
    trouble = f"trouble: {escape(record['error'])}" if record["error"] else ""
    return ": ".join(part for part in (where, trouble) if part) or "done"


def _client(client: Data) -> str:
    words = timeline.OUTCOME_WORDS.get(client["outcome"], "ended")
    kind = f" ({escape(client['failure_class'])})" if client["failure_class"] else ""
    said = f": {escape(client['message'])}" if client["message"] and client["outcome"] != "failed" else ""
    kept = "".join(f"<br>{name} {code(client[key])}" for name, key in (("work tree", "worktree"), ("logs", "logs"))
                   if client[key])  # fmt: skip
    place = f" on {escape(client['place'])}" if client["place"] else ""
    return (
        f"<li>attempt {client['attempt']}, {format_time(client['since'])}, {duration(client['seconds'])}{place}: "
        f"{words}{kind}{said}{kept}</li>"
    )


# -- the rest ----------------------------------------------------------------------------------------------------------


def _looks(data: Data) -> Iterator[str]:
    if data["looks"]:
        yield _section("For a look", _folded(data["looks"], _look))


def _look(look: Data) -> str:
    about = f"Feature {look['number']}" if look["number"] else "Between features"
    if look["kind"] == "decision":
        said = f"{escape(look['what'])}</h3><p>{escape(look['said'])}</p>"
        return f'<div class="card"><p class="soft small">{about} · decided by default</p><h3>{said}</div>'
    said = f"<p>{escape(look['said'])}</p>" if look["said"] else ""
    return f'<div class="card"><h3>{about} {escape(look["what"])}</h3>{said}</div>'


def _waits(data: Data) -> Iterator[str]:
    waits = data["waits"]
    if not waits:
        return
    rows = "".join(
        f"<tr><td>{format_time(wait['since'])}</td><td>{duration(wait['seconds']) or 'still waits'}</td>"
        f"<td>{escape(wait['reason'] or '')}</td></tr>"
        for wait in waits[:MOST]
    )
    head = "<thead><tr><th>since</th><th>how long</th><th>what for</th></tr></thead>"
    yield _section("Waits", f'<div class="card"><table class="waits">{head}<tbody>{rows}</tbody></table></div>')


def _figures(data: Data) -> Iterator[str]:
    spent, run, budgets = data["spent"], data["run"], data["budgets"]
    if spent:
        yield _section("Cost and tokens", f'<div class="card">{_table(_amounts(spent, budgets))}</div>')
    facts = [("features from", code(data["source"]) if data["source"] else "")]
    if run:
        ends = (short_commit(run[name]) if run[name] else "" for name in ("base_commit", "head"))
        facts.append(("branch", f"{code(run['branch'])} ({escape(' to '.join(end for end in ends if end))})"))
        facts.append(("run", f"{format_time(run['started_at'])}, {pluralize(run['jobs'], 'job')}"))
    opened = data["pull_request"]
    if opened:
        facts.append(("pull request", _published(opened)))
    verify = data["policy"]["verify"]
    facts.append(("verify", code(verify) if verify else "none: only a commit was asked for"))
    facts.append(("evidence", escape(", ".join(data["policy"]["evidence"]))))
    facts.append(("created", format_time(data["created_at"])))
    yield _section("This batch", f'<div class="card">{_listed([fact for fact in facts if fact[1]])}</div>')
    yield f"<footer>As of {format_time(data['at'])}. All times are UTC.</footer>"


def _amounts(spent: Data, budgets: Data) -> Iterator[tuple[str, str]]:
    limit = f" of {format_dollars(budgets['cost_usd'])}" if "cost_usd" in budgets else ""
    waited = f" of {duration(budgets['wait_s'])}" if "wait_s" in budgets else ""
    yield "cost, as the clients say it", f"{format_dollars(spent.get('cost_usd', 0))}{limit}"
    for name, word in (("clients", "clients"), ("turns", "turns"), ("input_tokens", "tokens read"),
                       ("cache_read_tokens", "tokens read from the cache"),
                       ("cache_creation_tokens", "tokens written to the cache"),
                       ("output_tokens", "tokens written")):  # fmt: skip
        yield word, f"{spent.get(name, 0):,.0f}"
    yield "work of all clients", duration(spent.get("worked_s", 0))
    yield "waiting", f"{duration(spent.get('waited_s', 0))}{waited}"


def _tokens(turns: int, cost: Optional[float], tokens: Data) -> str:
    read = tokens["input_tokens"] + tokens["cache_read_tokens"] + tokens["cache_creation_tokens"]
    return f"{turns:,} turns, {format_dollars(cost)}, {read:,} tokens read, {tokens['output_tokens']:,} written"


def _table(amounts: Iterator[tuple[str, str]]) -> str:
    rows = "".join(f'<tr><th scope="row">{name}</th><td>{amount}</td></tr>' for name, amount in amounts)
    return f'<table class="amounts"><tbody>{rows}</tbody></table>'


def code(text: str) -> str:
    """A text that is not ours, as it stands in a terminal."""
    return f"<code>{escape(text)}</code>"


def _linked(url: Optional[str], words: str) -> str:
    """`words` as a link to an address that `shown.link` passed, with the address to be read; without one, the words."""
    if not url:
        return words
    return (
        f'<a href="{escape(url)}" rel="noreferrer noopener">{words}</a> <span class="soft small">{escape(url)}</span>'
    )


def _listed(facts: Sequence[tuple[str, str]]) -> str:
    return f"<dl>{''.join(f'<dt>{name}</dt><dd>{said}</dd>' for name, said in facts)}</dl>"


def _section(title: str, inside: str) -> str:
    return f"<section><h2>{title}</h2>{inside}</section>"


def _fold(title: str, inside: str) -> str:
    return f'<details class="fold"><summary>{title}</summary>{inside}</details>'


def _folded(entries: List[Data], told: Callable[[Data], str]) -> str:
    """The first entries; the others folded away, beyond MOST only their number."""
    shown = "".join(map(told, entries[:OPEN]))
    if len(entries) <= OPEN:
        return shown
    more = "".join(map(told, entries[OPEN:MOST]))
    beyond = f"<p>{len(entries) - MOST:,} stand in the JSON report alone.</p>" if len(entries) > MOST else ""
    return shown + _fold(f"{len(entries) - OPEN:,} more", more + beyond)
