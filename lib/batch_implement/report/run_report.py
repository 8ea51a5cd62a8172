"""Build the report of a batch: how it ended, what needs the user, and the next steps. Pure.

    report = build_report(state, at)                    at the time `at`
    report = build_report(state, at, archived=True)     of an archived batch, which no command can resume

`report_data` has the fields; `run_report_html` and `run_report_markdown` show them.
"""

from __future__ import annotations

import re

from ..core import batch_policy, batch_state, blocked_features, prompts, review_verdicts
from ..core.batch_state import key
from ..git.git_client import format_paths
from . import status_report, timeline
from .formatting import format_time, shell_safe_name, to_block, to_line, tracker_url
from .report_data import (
    Client,
    Evidence,
    Failure,
    Feature,
    Look,
    Merge,
    Need,
    Pause,
    Place,
    Publication,
    Report,
    Run,
    Step,
    Verify,
    Wait,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Dict, Iterator, List, Optional, Sequence, Tuple

    from ..core.batch_state import State

MAX_COMMITS = 20  # of one feature
TOKENS = ("input_tokens", "output_tokens", "cache_read_tokens", "cache_creation_tokens")
SNAPSHOT = re.compile(r"refs/batch/[A-Za-z0-9._-]{1,120}/[0-9]{1,9}\.[0-9]{1,9}(-[0-9]{1,9})?", re.ASCII)


def build_report(
    state: State, at: str, *, archived: bool = False, missing: Sequence[Tuple[int, str, str]] = ()
) -> Report:
    """Return the report of a batch at the time `at`.

    `missing` are completed features that HEAD lacks: number, what is missing and the command that brings it back.
    """
    features = _build_features(state, at)
    counts = status_report.status_counts(state, at)
    is_live = batch_state.is_live(state)
    ended = None if is_live else max((feature.until for feature in features if feature.until), default=None)
    run, pause = _build_run(state), state["pause"]
    return Report(
        batch_id=state["batch_id"],
        at=to_line(at),
        status=state["status"],
        verdict=_verdict(state, counts, archived),
        headline=f"{counts['done']:,} of {prompts.pluralize(counts['total'], 'feature')} done"
        + prompts.describe_unchanged(state),
        counts=counts,
        archived=archived,
        source=_describe_source(state),
        policy={
            **{name: state["policy"][name] for name in ("evidence", "max_retries", "unattended")},
            "verify": to_block(state["policy"]["verify"]) or None,
        },
        created_at=to_line(state["created_at"]),
        ended_at=ended,
        took_s=timeline.seconds_between(state["created_at"], ended or at),
        branch=to_line(state.get("branch")),
        pause=_fill(Pause, pause, reason=to_block(pause["reason"])) if pause else None,
        run=run,
        pull_request=_build_publication((state.get("run") or {}).get("pull_request")),
        needs=[
            *(Need("missing", [number], what, "", commands=[command]) for number, what, command in missing),
            *_find_needs(state, features, archived),
        ],
        commands=list(_next_steps(state, features, run, archived)),
        looks=list(_find_looks(state, features)),
        waits=list(_build_waits(state)),
        spent=dict(state["run"]["spent"]) if run else None,
        budgets=dict(state["policy"].get("budgets") or {}),
        time_line=timeline.build_timeline(state, at),
        features=features,
    )


# -- the batch ---------------------------------------------------------------------------------------------------------


def _verdict(state: State, counts: Dict[str, int], archived: bool) -> str:
    if batch_state.is_live(state):
        return "archived unfinished" if archived else str(state["status"]).replace("_", " ")
    left = counts["failed"] + counts["skipped"]
    return "failed" if state["status"] == "failed" else f"ended, {left} not done" if left else "complete"


def _describe_source(state: State) -> str:
    if state["source_type"] == "issues":
        return prompts.pluralize(len(state.get("issue_numbers") or ()), "issue")
    name = to_line(state["features_file"]) or ""
    return "standard input" if name == "-" else name


def _build_run(state: State) -> Any:
    run = state.get("run")
    if not run:
        return None
    head = to_line((run.get("merges") or [{}])[-1].get("commit"))
    return _fill(Run, run, head=head, merge=bool(run["options"].get("merge")))


def _fill(kind: Any, record: State, **values: Any) -> Any:
    """Return a `kind` of `report_data`: the values, and fields of the record by the same names, texts on one line."""
    for name in kind.__dataclass_fields__:
        if name not in values:
            value = record.get(name)
            values[name] = to_line(value) if isinstance(value, str) else value
    return kind(**values)


def _build_publication(record: Any) -> Optional[Publication]:
    if not record:
        return None
    return Publication(record.get("number"), tracker_url(record.get("url")), to_block(record.get("error")) or None)


def _build_waits(state: State) -> Iterator[Wait]:
    run = state.get("run") or {}
    waiting = run.get("waiting")
    for entry in [*run.get("waits", ()), *([{**waiting, "until": None}] if waiting else [])]:
        yield _fill(Wait, entry, seconds=timeline.seconds_between(entry["since"], entry["until"]))


# -- the features ------------------------------------------------------------------------------------------------------


def _build_features(state: State, at: str) -> List[Feature]:
    reasons = {entry["feature_index"]: entry["error_message"] for entry in state["failed_features"]}
    for entry in state["skipped_features"]:
        reasons[entry["feature_index"]] = blocked_features.describe_reason(entry["reason"])
    merges = {entry["feature_index"]: entry for entry in (state.get("run") or {}).get("merges", ())}
    return [
        _build_feature(state, index, status, to_block(reasons.get(index)) or None, merges.get(index))
        for index, status in batch_state.feature_statuses(state, at).items()
    ]


def _build_feature(state: State, index: int, status: str, why: Optional[str], merge: Optional[State]) -> Feature:
    name, run = key(index), state.get("run") or {}
    timing = state.get("timings", {}).get(name, {})
    clients = [_build_client(entry) for entry in run.get("clients", {}).get(name, ())]
    evidence = state["evidence"].get(name) if status == "done" else None
    operations = state["git_operations"].get(name, {})
    since, until = timing.get("started_at"), timing.get("ended_at")
    seconds = sum(client.seconds or 0 for client in clients) if clients else timeline.seconds_between(since, until)
    return Feature(
        number=index + 1,
        text=to_line(state["features"][index]) or "",
        status=status,
        why=why,
        attempts=status_report.attempts_begun(state, index, status),
        issue=_build_issue(state, index),
        since=to_line(since),
        until=to_line(until),
        seconds=seconds,
        cost_usd=sum(client.cost_usd for client in clients) if clients else None,
        turns=sum(client.turns for client in clients) if clients else None,
        tokens={kind: sum(client.tokens[kind] for client in clients) for kind in TOKENS} if clients else None,
        commit=to_line(evidence.get("commit")) if evidence else None,
        commits=[to_line(commit) for commit in (evidence or {}).get("commits", ())[-MAX_COMMITS:]],
        branch=to_line(evidence.get("branch")) if evidence else None,
        evidence=_build_evidence(state, index, evidence) if evidence else None,
        merge=_build_merge(merge) if merge else None,
        sent_back=run.get("sent_back", {}).get(name, 0),
        pull_request=_build_publication(operations.get("pr")),
        push=_build_publication(operations.get("push")),
        failures=[
            _fill(Failure, entry, message=to_block(entry["error_message"]), at=to_line(entry["timestamp"]))
            for entry in state.get("attempts", {}).get(name, ())
        ],
        clients=clients,
    )


def _build_issue(state: State, index: int) -> Optional[Publication]:
    if not state.get("issue_numbers"):
        return None
    url = state.get("details", {}).get(key(index), {}).get("url")
    return Publication(state["issue_numbers"][index], tracker_url(url))


def _build_client(entry: State) -> Any:
    return _fill(
        Client,
        entry,
        message=to_block(entry.get("message")),
        since=to_line(entry["started_at"]),
        until=to_line(entry["ended_at"]),
        seconds=entry.get("seconds", timeline.seconds_between(entry["started_at"], entry["ended_at"])),
        turns=entry.get("turns", 0),
        cost_usd=entry.get("cost_usd", 0),
        tokens={kind: entry.get(kind, 0) for kind in TOKENS},
        refusals={to_line(rule): count for rule, count in entry.get("refusals", {}).items()},
    )


def _build_merge(merge: State) -> Any:
    flaky = bool(merge.get("flaky"))
    return _fill(Merge, merge, base_commit=to_line(merge["from"]), at=to_line(merge["timestamp"]), flaky=flaky)


def _build_evidence(state: State, index: int, evidence: State) -> Any:
    verify = evidence.get("verify")
    return _fill(
        Evidence,
        evidence,
        verify=_fill(Verify, verify, command=to_block(verify["command"])) if verify else None,
        verdict=review_verdicts.describe(evidence),
        needs_review="review" in batch_policy.feature_policy(state, index)["evidence"],
        review=to_block(evidence.get("review")) or None,
        no_change=to_block(evidence.get("no_change")) or None,
        **{name: [to_line(text) for text in evidence.get(name, ())] for name in ("without", "gone", "stashes")},
        asserted=bool(evidence.get("asserted")),
        rewritten=len(evidence.get("rewritten", ())),
        foreign=len(evidence.get("foreign", ())),
        verified_with=[other + 1 for other in evidence.get("verified_with", ())],
        at=to_line(evidence.get("timestamp")),
    )


# -- what the user does next -------------------------------------------------------------------------------------------


def _find_needs(state: State, features: List[Feature], archived: bool) -> Iterator[Need]:
    """Yield what needs the user, the most urgent first."""
    pause = state["pause"]
    if pause and not archived:
        until = f", not before {format_time(pause['resume_after'])}" if pause.get("resume_after") else ""
        yield Need("paused", [], f"Paused since {format_time(pause['since'])}{until}", to_block(pause["reason"]))
    blocked = _blocked_numbers(state)
    for feature in features:
        if feature.status == "failed":
            yield _failed_need(feature, sorted(blocked.get(feature.number, ())), archived)
    for feature in features:
        for what, record in (("Push", feature.push), ("Pull request", feature.pull_request)):
            if record and record.error:
                yield Need("published", [feature.number], f"{what} of feature {feature.number} failed", record.error)
    opened = _build_publication((state.get("run") or {}).get("pull_request"))
    if opened and opened.error:
        yield Need("published", [], "Pull request of the batch failed", opened.error)
    for name, updates in state.get("issue_updates", {}).items():
        for what, update in updates.items():
            if not update["done"]:
                number = int(name) + 1
                commands = [] if archived else ["batchctl issues"]
                message = f"Issue of feature {number} not updated: {what}"
                yield Need("issue", [number], message, to_block(update.get("why")), commands=commands)


def _failed_need(feature: Feature, blocked: List[int], archived: bool) -> Need:
    what = f"Feature {feature.number} failed"
    if feature.attempts:  # an older state file has no attempts
        what += f" after {prompts.pluralize(feature.attempts, 'attempt')}"
    if blocked:
        shown = ", ".join(map(str, blocked[:20])) + (f" and {len(blocked) - 20} more" if len(blocked) > 20 else "")
        what += f"; {shown} {'needs' if len(blocked) == 1 else 'need'} it"
    failure = feature.failures[-1] if feature.failures else None
    client = feature.clients[-1] if feature.clients else None
    places = {
        "snapshot": failure and failure.snapshot,
        "branch": (failure and failure.branch) or (client and client.branch),
        "worktree": client and client.worktree,
        "logs": client and client.logs,
    }
    commands = [] if archived else [f"batchctl retry {feature.number}"]
    return Need(
        "failed",
        [feature.number, *blocked],
        what,
        feature.why or "",
        [Place(what, name) for what, name in places.items() if name],
        [*commands, *_snapshot_command(failure.snapshot if failure else None)],
    )


def _snapshot_command(ref: Optional[str]) -> List[str]:
    """Return the command that brings a snapshot back; none for anything that is not the ref of one."""
    return [f"git cherry-pick -n -m 1 {ref}"] if ref and SNAPSHOT.fullmatch(ref) else []


def _blocked_numbers(state: State) -> Dict[int, List[int]]:
    """Return for each failed feature the features that were skipped because of it, directly or not; all by number."""
    blocked_by: Dict[int, List[int]] = {}
    for entry in state["skipped_features"]:
        blocker = blocked_features.parse_blocker(entry["reason"])
        if blocker is not None:
            blocked_by.setdefault(blocker, []).append(entry["feature_index"])
    numbers: Dict[int, List[int]] = {}
    for index in batch_state.failed_indices(state):
        blocked = list(blocked_by.get(index, ()))
        for other in blocked:
            blocked += blocked_by.get(other, ())
        numbers[index + 1] = [other + 1 for other in blocked]
    return numbers


def _next_steps(state: State, features: List[Feature], run: Optional[Run], archived: bool) -> Iterator[Step]:
    if not archived:
        yield from _resume_steps(state, sum(feature.status == "failed" for feature in features), bool(run))
    # the names as the state has them: a cleaned name would be another one
    branch, target = (shell_safe_name(state["run"][name]) for name in ("branch", "target")) if run else (None, None)
    if run and branch and run.head:
        base = target if run.merge and target else shell_safe_name(state["run"]["base_commit"][:12])
        if base:
            what = "Show what your branch lacks" if base == target else "Review the commits"
            yield Step(what, f"git log --oneline {base}..{branch}")
        switch = f"git switch {target} && " if target else ""
        yield Step("Merge into your branch", f"{switch}git merge {branch}")


def _describe_rewritten(rewritten: List[State], features: Dict[str, int]) -> str:
    """Return what rewritten commits are now, and of which feature they were: `features` has its number by commit."""
    changes = []
    for entry in rewritten:
        of = f" of feature {features[entry['old']]}" if entry["old"] in features else ""
        now = f"is {entry['new'][:12]} now" if entry["new"] else "is in other commits now"
        changes.append(f"{entry['old'][:12]}{of} {now}")
    return to_block(", ".join(changes))


def _resume_steps(state: State, failed: int, has_run: bool) -> Iterator[Step]:
    """Yield how to resume a batch that is not over, and how to retry its failed features."""
    resume = "batchctl run --resume" if has_run else "/batch-implement --resume"
    place = "" if has_run else " in Claude Code"
    retry = f"Retry {prompts.pluralize(failed, 'failed feature')}"
    if any(_blocked_numbers(state).values()):
        retry += " and the features that need " + ("it" if failed == 1 else "them")
    attempts = state.get("attempts", {})
    last = [attempts.get(batch_state.key(entry["feature_index"]), [{}])[-1] for entry in state["failed_features"]]
    if any(attempt.get("permanent") for attempt in last):
        retry += ", once what is missing is there"
    if batch_state.is_live(state):
        until = (state["pause"] or {}).get("resume_after")
        later = f", not before {format_time(until)}" if until else ""
        yield Step(f"Resume the batch{place}{later}", resume)
        if failed:
            yield Step(retry, "batchctl retry")
    elif failed and has_run:  # without a retry there is nothing to resume
        yield Step(retry, f"batchctl retry && {resume}")
    elif failed:
        yield Step(f"{retry}, then type `{resume}`{place}", "batchctl retry")


def _find_looks(state: State, features: List[Feature]) -> Iterator[Look]:
    """Yield what is done and still worth a look."""
    owners = {sha: int(name) + 1 for name, each in state["evidence"].items() for sha in each.get("commits", ())}
    for feature in features:
        evidence, number = feature.evidence, feature.number
        if not evidence:
            continue
        if evidence.no_change:
            yield Look("no_change", number, "needed no change", evidence.no_change)
        if evidence.without:
            yield Look("without", number, "has files in no commit, which git ignores", format_paths(evidence.without))
        if evidence.gone:
            yield Look("gone", number, "ended without files from before the batch", format_paths(evidence.gone))
        for stash in evidence.stashes:
            yield Look("stash", number, "left aside what may be changes of yours", stash)
        if evidence.verdict == review_verdicts.FIX:
            yield Look("review", number, "is done although its review says `VERDICT: fix`", evidence.review or "")
        if evidence.asserted:
            yield Look("asserted", number, "was marked done by a script; nothing was checked")
        if evidence.rewritten:
            rewrote = f"rewrote {prompts.pluralize(evidence.rewritten, 'earlier commit')}"
            entries = state["evidence"][batch_state.key(number - 1)]["rewritten"]
            yield Look("rewritten", number, rewrote, _describe_rewritten(entries, owners))
        if evidence.foreign:
            yield Look("foreign", number, f"includes {prompts.pluralize(evidence.foreign, 'commit')} of other authors")
        if feature.merge and feature.merge.flaky:
            yield Look("flaky", number, "failed the verify command in the merge queue and passed when it was run again")
    for decision in state.get("decisions", ()):
        index = decision.get("feature_index")
        subject = None if index is None else index + 1
        yield Look("decision", subject, to_block(decision["question"]), to_block(decision["answer"]))
