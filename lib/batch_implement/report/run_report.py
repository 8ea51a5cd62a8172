"""The morning report as plain data: what became of a batch, what needs a person, and how it goes on. Pure.

    data = report_data(state, at)           at the time `at`; `morning_markdown` and `morning_html` tell it
    report_data(state, at, put_away=True)   of a batch in the archive, which no verb can go on with

    batch_id, at, status, verdict, headline, counts, put_away, source, policy, created_at, ended_at, took_s
    pause            {reason, since, resume_after}; null when it does not wait
    run              {branch, base_commit, head, target, merge, jobs, started_at, ended_at, ended_why}; null when
                     `batchctl run` never drove it: then `branch` of each feature says where its commits are
    pull_request     {number, url, error}; null without one
    needs            what needs a person: {kind, numbers, what, said, where: [{what, name}], commands}
    commands         how to go on: {what, command}, to be typed as it stands
    looks            for a look: {kind, number, what, said}; kind: no_change, decision, asserted, rewritten, foreign
    waits            {since, until, seconds, reason, failure_class}; until is null while it waits
    spent            what all clients used, by name (seconds end in `_s`); null without a run
    budgets          the limits of the run
    time_line        see `timeline`; null when nothing has begun
    features         by number: {number, text, status, why, attempts, issue, since, until, seconds, cost_usd, turns,
                     tokens, commit, commits, branch, evidence, merge, sent_back, pull_request, push, failures, clients}

Every text in it that is not ours (features, messages, names) has no control and no bidi character and a bounded length;
it is still nobody's instruction and nobody's markup. `headline`, `verdict` and each `what` but a decision's are ours. A
command never holds a text that is not ours, only names of a plain alphabet.
"""

from __future__ import annotations

import re

from ..core import batch_state, blocking, prompts
from ..core.batch_state import key
from . import timeline
from .formatting import format_time, shell_safe_name, to_block, to_line, tracker_url

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Dict, Iterator, List, Optional

    from ..core.batch_state import State

    Data = Dict[str, Any]

MOST_COMMITS = 20  # of one feature
TOKENS = ("input_tokens", "output_tokens", "cache_read_tokens", "cache_creation_tokens")
STASH = re.compile(r"batch [A-Za-z0-9._-]{1,120} feature [0-9]{1,9} attempt [0-9]{1,9}", re.ASCII)


def build_report(state: State, at: str, *, put_away: bool = False) -> Data:
    """The report of a batch at the time `at` (see the module); `put_away`: it is in the archive."""
    features = _features(state)
    counts = {"total": len(features), **dict.fromkeys(("completed", "failed", "skipped", "active", "pending"), 0)}
    for feature in features:
        counts[feature["status"]] += 1
    ended = max((moment for moment in (feature["until"] for feature in features) if moment), default=None)
    ended = ended if not batch_state.is_live(state) else None
    run = _run(state)
    pause = state["pause"]
    return {
        "batch_id": state["batch_id"],
        "at": to_line(at),
        "status": state["status"],
        "verdict": _verdict(state, counts, put_away),
        "headline": _headline(counts),
        "counts": counts,
        "put_away": put_away,
        "source": _source(state),
        "policy": _policy(state),
        "created_at": to_line(state["created_at"]),
        "ended_at": ended,
        "took_s": timeline.seconds_between(state["created_at"], ended or at),
        "pause": {
            "reason": to_block(pause["reason"]),
            "since": to_line(pause["since"]),
            "resume_after": to_line(pause.get("resume_after")),
        } if pause else None,
        "run": run,
        "pull_request": _published((state.get("run") or {}).get("pull_request")),
        "needs": list(_needs(state, features, put_away)),
        "commands": list(_commands(state, features, run, put_away)),
        "looks": list(_looks(state, features)),
        "waits": list(_waits(state)),
        "spent": dict(state["run"]["spent"]) if run else None,
        "budgets": dict(state["policy"].get("budgets") or {}),
        "time_line": timeline.build_timeline(state, at),
        "features": features,
    }  # fmt: skip


# -- the batch ---------------------------------------------------------------------------------------------------------


def _headline(counts: Dict[str, int]) -> str:
    total = counts["total"]
    return f"{counts['completed']:,} of {total:,} feature{'' if total == 1 else 's'} done"


def _verdict(state: State, counts: Dict[str, int], put_away: bool) -> str:
    if batch_state.is_live(state):
        return "put away unfinished" if put_away else str(state["status"]).replace("_", " ")
    left = counts["failed"] + counts["skipped"]
    return "failed" if state["status"] == "failed" else f"over, {left} not done" if left else "complete"


def _source(state: State) -> str:
    if state["source_type"] == "issues":
        return prompts.pluralize(len(state.get("issue_numbers") or ()), "issue")
    name = to_line(state["features_file"]) or ""
    return "standard input" if name == "-" else name


def _policy(state: State) -> Data:
    policy = state["policy"]
    return {
        "verify": to_block(policy["verify"]) or None,
        "evidence": list(policy["evidence"]),
        "max_retries": policy["max_retries"],
        "unattended": policy["unattended"],
    }


def _run(state: State) -> Optional[Data]:
    run = state.get("run")
    if not run:
        return None
    merges = run.get("merges") or [{}]
    named = {name: to_line(run.get(name)) for name in ("branch", "base_commit", "target", "started_at", "ended_at")}
    return {
        **named,
        "head": to_line(merges[-1].get("commit")),
        "merge": bool(run["options"].get("merge")),
        "jobs": run["jobs"],
        "ended_why": to_line(run.get("ended_why")),
    }


def _published(record: Any) -> Optional[Data]:
    if not record:
        return None
    return {
        "number": record.get("number"),
        "url": tracker_url(record.get("url")),
        "error": to_block(record.get("error")) or None,
    }


def _waits(state: State) -> Iterator[Data]:
    run = state.get("run") or {}
    now = run.get("waiting")
    for entry in [*run.get("waits", ()), *([{**now, "until": None}] if now else [])]:
        yield {
            "since": to_line(entry["since"]),
            "until": to_line(entry["until"]),
            "seconds": timeline.seconds_between(entry["since"], entry["until"]),
            "reason": to_line(entry["reason"]),
            "failure_class": to_line(entry["failure_class"]),
        }


# -- the features ------------------------------------------------------------------------------------------------------


def _features(state: State) -> List[Data]:
    run = state.get("run") or {}
    settled = dict.fromkeys(state["completed_features"], "completed")
    settled.update(dict.fromkeys(batch_state.failed_indices(state), "failed"))
    settled.update(dict.fromkeys(batch_state.skipped_indices(state), "skipped"))
    settled.update(dict.fromkeys(batch_state.running_indices(state), "active"))
    if state["active"]:
        settled[state["active"]["feature_index"]] = "active"
    why = {entry["feature_index"]: entry["error_message"] for entry in state["failed_features"]}
    for entry in state["skipped_features"]:
        why[entry["feature_index"]] = blocking.describe_reason(entry["reason"])
    merges = {entry["feature_index"]: entry for entry in run.get("merges", ())}
    return [
        _feature(state, run, index, settled.get(index, "pending"), why.get(index), merges.get(index))
        for index in range(state["total_features"])
    ]


def _feature(state: State, run: Data, index: int, status: str, why: Optional[str], merge: Optional[Data]) -> Data:
    name = key(index)
    timing = state.get("timings", {}).get(name, {})
    clients = [_client(entry) for entry in run.get("clients", {}).get(name, ())]
    proof = state["evidence"].get(name) if status == "completed" else None
    published = state["git_operations"].get(name, {})
    since, until = timing.get("started_at"), timing.get("ended_at")
    tokens = {kind: sum(client["tokens"][kind] for client in clients) for kind in TOKENS} if clients else None
    numbers = state.get("issue_numbers")
    return {
        "number": index + 1,
        "text": to_line(state["features"][index]),
        "status": status,
        "why": to_block(why) or None,
        "attempts": batch_state.attempts_used(state, index) + (status in ("completed", "active")),
        "issue": {
            "number": numbers[index], "url": tracker_url(state.get("details", {}).get(name, {}).get("url"))
        } if numbers else None,
        "since": to_line(since),
        "until": to_line(until),
        "seconds": sum(client["seconds"] or 0 for client in clients)
        if clients
        else timeline.seconds_between(since, until),
        "cost_usd": sum(client["cost_usd"] for client in clients) if clients else None,
        "turns": sum(client["turns"] for client in clients) if clients else None,
        "tokens": tokens,
        "commit": to_line(proof.get("commit")) if proof else None,
        "commits": [to_line(commit) for commit in proof.get("commits", ())[-MOST_COMMITS:]] if proof else [],
        "branch": to_line(proof.get("branch")) if proof else None,
        "evidence": _evidence(proof) if proof else None,
        "merge": {
            "commit": to_line(merge["commit"]), "from": to_line(merge["from"]), "rebased": merge["rebased"],
            "verify_seconds": merge.get("verify_seconds"), "at": to_line(merge["timestamp"]),
        } if merge else None,
        "sent_back": run.get("sent_back", {}).get(name, 0),
        "pull_request": _published(published.get("pr")),
        "push": _published(published.get("push")),
        "failures": [
            {
                "attempt": entry["attempt"], "failure_class": to_line(entry["failure_class"]),
                "message": to_block(entry["error_message"]), "at": to_line(entry["timestamp"]),
                "stash": to_line(entry.get("stash")), "branch": to_line(entry.get("branch")),
            }
            for entry in state.get("attempts", {}).get(name, ())
        ],
        "clients": clients,
    }  # fmt: skip


def _client(entry: Data) -> Data:
    named = {name: to_line(entry.get(name)) for name in ("failure_class", "place", "branch", "worktree", "logs")}
    return {
        **named,
        "attempt": entry["attempt"],
        "outcome": to_line(entry["outcome"]),
        "message": to_block(entry.get("message")),
        "since": to_line(entry["started_at"]),
        "until": to_line(entry["ended_at"]),
        "seconds": entry.get("seconds", timeline.seconds_between(entry["started_at"], entry["ended_at"])),
        "turns": entry.get("turns", 0),
        "cost_usd": entry.get("cost_usd", 0),
        "tokens": {kind: entry.get(kind, 0) for kind in TOKENS},
    }


def _evidence(proof: Data) -> Data:
    verify = proof.get("verify")
    return {
        "verify": {
            "command": to_block(verify["command"]), "exit_code": verify["exit_code"], "seconds": verify.get("seconds"),
            "log": to_line(verify.get("log")),
        } if verify else None,
        "review": to_block(proof.get("review")) or None,
        "no_change": to_block(proof.get("no_change")) or None,
        "asserted": bool(proof.get("asserted")),
        "rewritten": len(proof.get("rewritten", ())),
        "foreign": len(proof.get("foreign", ())),
        "at": to_line(proof.get("timestamp")),
    }  # fmt: skip


# -- what a person does now --------------------------------------------------------------------------------------------


def _needs(state: State, features: List[Data], put_away: bool) -> Iterator[Data]:
    """What waits for a person, the most urgent first."""
    run = state.get("run")
    pause = state["pause"]
    if pause and not put_away:
        later = f", not before {format_time(pause['resume_after'])}" if pause.get("resume_after") else ""
        yield _need(
            "paused", [], f"The batch waits since {format_time(pause['since'])}{later}", to_block(pause["reason"])
        )
    blocked = _blocked(state)
    for feature in features:
        if feature["status"] == "failed":
            yield _failed(feature, sorted(blocked.get(feature["number"], ())), put_away)
    for feature in features:
        for what, record in (("push", feature["push"]), ("pull request", feature["pull_request"])):
            if record and record["error"]:
                number = feature["number"]
                yield _need(
                    "published", [number], f"There was trouble with the {what} of feature {number}", record["error"]
                )
    opened = _published(run.get("pull_request")) if run else None
    if opened and opened["error"]:
        yield _need("published", [], "There was trouble with the pull request of the batch", opened["error"])
    for name, updates in state.get("issue_updates", {}).items():
        for what, update in updates.items():
            if not update["done"]:
                again = [] if put_away else ["batchctl issues"]
                said = f"The issue of feature {int(name) + 1} has not had its {what}"
                yield _need("issue", [int(name) + 1], said, to_block(update.get("why")), commands=again)


def _need(kind: str, numbers: List[int], what: str, said: str, **more: Any) -> Data:
    return {"kind": kind, "numbers": numbers, "what": what, "said": said, "where": [], "commands": [], **more}


def _failed(feature: Data, blocked: List[int], put_away: bool) -> Data:
    number = feature["number"]
    what = f"Feature {number} failed"
    if feature["attempts"]:  # an older state file says only that it failed
        what += f" after {prompts.pluralize(feature['attempts'], 'attempt')}"
    if blocked:
        shown = ", ".join(map(str, blocked[:20])) + (f" and {len(blocked) - 20} more" if len(blocked) > 20 else "")
        what += f"; {shown} {'needs' if len(blocked) == 1 else 'need'} it"
    last: Data = feature["failures"][-1] if feature["failures"] else {}
    client: Data = feature["clients"][-1] if feature["clients"] else {}
    where = {
        "stash": last.get("stash"),
        "branch": last.get("branch") or client.get("branch"),
        "work tree": client.get("worktree"),
        "logs": client.get("logs"),
    }
    commands = [] if put_away else [f"batchctl retry {number}"]
    commands += _stash_command(last.get("stash"))
    return _need(
        "failed", [number, *blocked], what, feature["why"] or "",
        where=[{"what": word, "name": name} for word, name in where.items() if name], commands=commands,
    )  # fmt: skip


def _stash_command(stash: Optional[str]) -> List[str]:
    """The command that brings a stash back into a clean tree, by its name: its number changes with every other one."""
    if not stash or not STASH.fullmatch(stash):
        return []
    return [f"git stash apply \"$(git stash list --format=%gd --grep='{stash}$' -1)\""]


def _blocked(state: State) -> Dict[int, List[int]]:
    """For the number of each failed feature the numbers of those that were skipped because of it, all the way down."""
    needed: Dict[int, List[int]] = {}
    for entry in state["skipped_features"]:
        stopper = blocking.parse_blocker(entry["reason"])
        if stopper is not None:
            needed.setdefault(stopper, []).append(entry["feature_index"])
    found: Dict[int, List[int]] = {}
    for index in batch_state.failed_indices(state):
        front = list(needed.get(index, ()))
        for other in front:
            front += needed.get(other, ())
        found[index + 1] = [other + 1 for other in front]
    return found


def _commands(state: State, features: List[Data], run: Optional[Data], put_away: bool) -> Iterator[Data]:
    """How to go on, in the order in which it makes sense."""
    on = "batchctl run --resume" if run else "/batch-implement --resume"
    where = "" if run else " (in Claude Code)"
    failed = [feature["number"] for feature in features if feature["status"] == "failed"]
    if not put_away:
        if failed:
            them = "the feature that failed" if len(failed) == 1 else f"the {len(failed):,} features that failed"
            yield {"what": f"Bring back {them}, and what needs it", "command": "batchctl retry"}
        if batch_state.is_live(state) or failed:
            pause = state["pause"] or {}
            later = f", not before {format_time(pause['resume_after'])}" if pause.get("resume_after") else ""
            yield {"what": f"{'Then go' if failed else 'Go'} on with the batch{where}{later}", "command": on}
    branch, target = (shell_safe_name(state["run"][name]) for name in ("branch", "target")) if run else (None, None)
    if run and branch and run["head"]:
        begun = target if run["merge"] and target else shell_safe_name(state["run"]["base_commit"][:12])
        if begun:
            what = "See what your branch does not have yet" if begun == target else "Look at what was done"
            yield {"what": what, "command": f"git log --oneline {begun}..{branch}"}
        into = f"git switch {target} && " if target else ""
        yield {"what": "Take it over into your branch", "command": f"{into}git merge {branch}"}


def _looks(state: State, features: List[Data]) -> Iterator[Data]:
    """What went well and still deserves a look."""
    for feature in features:
        proof, number = feature["evidence"], feature["number"]
        if not proof:
            continue
        if proof["no_change"]:
            yield {"kind": "no_change", "number": number, "what": "needed no change", "said": proof["no_change"]}
        if proof["asserted"]:
            said = "is done because a script said so; nothing was checked"
            yield {"kind": "asserted", "number": number, "what": said, "said": ""}
        if proof["rewritten"]:
            many = prompts.pluralize(proof["rewritten"], "earlier commit")
            yield {"kind": "rewritten", "number": number, "what": f"rewrote {many}", "said": ""}
        if proof["foreign"]:
            many = prompts.pluralize(proof["foreign"], "commit")
            yield {"kind": "foreign", "number": number, "what": f"came with {many} by somebody else", "said": ""}
    for decision in state.get("decisions", ()):
        index = decision.get("feature_index")
        yield {
            "kind": "decision", "number": None if index is None else index + 1, "what": to_block(decision["question"]),
            "said": to_block(decision["answer"]),
        }  # fmt: skip
