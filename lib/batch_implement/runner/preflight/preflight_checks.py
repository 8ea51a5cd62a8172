"""What would stop the night, before it begins: each with its remedy.

    found = check(project, state, options, os.environ, plugin)      [{check, verdict: ok | look | bad, text}]
    print(text(state, found, options))                              what `batchctl run --dry-run` shows

`state` is a plan that is not written yet, or the batch that is to go on; `options` are settled ones. The looks are
those of `doctor`, and what a run needs beyond: they come cheapest first, and what builds on something bad is not tried.
The last, with a commit and the verify command in a throw-away work tree, is made only when nothing else is bad. Of the
client only its version and its login are asked: no model turn is spent, and nothing of the person's tree changes.
"""

from __future__ import annotations

import heapq
import itertools
import os
import shlex
import shutil

from ...base import fast_json, processes, subprocesses
from ...base.text import clean, duration, one_line
from ...commands import authorization, claude_settings, doctor
from ...commands.doctor import ERROR, OK, WARNING
from ...core import batch_state, path_conflicts, policies, run_transitions
from ...core.batch_state import key
from ...core.prompts import pluralize
from ...git import gh, worktrees
from ...report import status_report
from ...store.store import Store
from .. import claude_process, options, pull_requests
from . import environment
from .verify_check import check_verify

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Dict, Iterator, List, Mapping, Optional, Sequence, Set, Tuple

    from ...base.project_paths import Project
    from ...core.batch_state import State
    from ..options import Options

    Found = Iterator[Tuple[str, str]]
    Checks = List[Dict[str, str]]

MIN_AUTH_STATUS_VERSION = doctor.MEASURED_CLIENT  # an older one may take the words for a prompt, and spend a turn on it
AUTH_STATUS_S = 30
MAY_PUSH = ("ADMIN", "MAINTAIN", "WRITE")
MAX_TEXT = 100
MAX_RULE = 60
MAX_CONFLICTS = 5
MAX_ROUNDS = 30


def run_checks(project: Project, state: State, wish: Options, environ: Mapping[str, str], plugin: str) -> Checks:
    """Everything that was looked at, in the form of `doctor.run_checks`. A throw-away work tree is made and removed."""
    root, batch_id = project.root, state["batch_id"]
    branch, top = worktrees.get_batch_branch(batch_id), wish.worktrees or ""
    jobs = 1 if wish.cluster else wish.jobs or 1  # here is then only the merge queue's work tree
    found = doctor.collect_checks([("python", doctor.check_python), ("git", lambda: doctor.check_git(project))])
    if _has_errors(found):
        return found
    found += doctor.collect_checks([
        ("tree", lambda: environment.check_working_tree(root, merge=bool(wish.merge))),
        ("branch", lambda: environment.check_branches(root, batch_id, branch)),
        ("branch", lambda: environment.check_previous_batch(root, _find_previous_branch(project, batch_id))),
        ("worktrees", lambda: environment.check_worktrees_folder(root, top)),
        ("features", lambda: _check_features(state, wish)),
        ("limits", lambda: _check_limits(state, wish)),
    ])  # fmt: skip
    if wish.worker is None and not wish.cluster:  # each of a cluster's workers is asked for itself
        program = shutil.which(wish.client or "claude", path=environ.get("PATH"))
        found += doctor.collect_checks([
            ("hooks", lambda: doctor.check_hooks(plugin)),
            ("permissions", lambda: _check_permissions(project, state, wish, environ)),
            ("client", lambda: _check_client(program, wish)),
            ("login", lambda: check_login(root, program, environ)),
            ("memory", lambda: environment.check_memory(jobs)),
        ])  # fmt: skip
    base = environment.get_start_commit(root, branch)
    if base is None:
        return found
    found += doctor.collect_checks([("disk", lambda: environment.check_disk(root, base, top, jobs))])
    if wish.pr is not None:
        found += doctor.collect_checks([("remote", lambda: _check_pull_requests(root, base, branch))])
    if _has_errors(found):
        return [*found, {"check": "verify", "verdict": WARNING, "text": "not tried: what is bad above comes first"}]
    folder = os.path.join(top, batch_id, "preflight")
    policy = state["policy"]
    return found + doctor.collect_checks([
        ("verify", lambda: check_verify(
            root, base, folder, policy["verify"], timeout_s=policy["verify_timeout_s"],
            feature_time_s=wish.feature_time or options.FEATURE_TIME_S,
        )),
    ])  # fmt: skip


def _find_previous_branch(project: Project, batch_id: str) -> Optional[str]:
    """The branch of the batch that is here and that this one is not, when a run drove it."""
    state = Store(project).read_if_usable()
    return state["run"]["branch"] if state and state["batch_id"] != batch_id and state.get("run") else None


def _has_errors(found: Sequence[Mapping[str, str]]) -> bool:
    return any(entry["verdict"] == ERROR for entry in found)


# -- the looks ---------------------------------------------------------------------------------------------------------


def _check_features(state: State, wish: Options) -> Found:
    """The batch: something is left to do, nobody else is at it, and what it asks for can be had."""
    if processes.is_owner_alive(state["owner"]):
        yield ERROR, authorization.batch_in_use_error(state).message
    counts = batch_state.counts(run_transitions.clear_running(state))
    left = counts["pending"] + counts["active"]
    if not left:
        yield (
            ERROR,
            "Nothing is left to do. `batchctl add FILE` appends features, `batchctl retry` brings failed ones back.",
        )
        return
    asked = [index for index in _list_remaining(state) if "review" in policies.feature_policy(state, index)["evidence"]]
    if wish.worker is not None and asked:
        yield (
            ERROR,
            f"Feature {asked[0] + 1} asks for a review, which the agent batch-implement:reviewer gives and no --worker "
            "can. Leave out `--worker`, or create the batch without `--review`.",
        )
    done = f"{counts['completed']} of {counts['total']} done, " if counts["completed"] else ""
    yield OK, f"{done}{left} to do; what each needs is known and in order"


def _check_limits(state: State, wish: Options) -> Found:
    """The limits: none ends the run before it has begun."""
    spent = (state.get("run") or {}).get("spent", {})
    cost, waited = spent.get("cost_usd", 0), spent.get("waited_s", 0)
    fits = True
    if wish.max_cost is not None and cost >= wish.max_cost:
        fits = False
        yield (
            ERROR,
            f"The batch has cost ${cost:.2f} already, and --max-cost is ${wish.max_cost:.2f}. Give a higher one.",
        )
    if wish.max_wait is not None and waited >= wish.max_wait:
        fits = False
        yield (
            ERROR,
            f"The batch has waited {duration(waited)} already, and --max-wait is {duration(wish.max_wait)}. Give a "
            "longer one.",
        )
    each = wish.feature_time or options.FEATURE_TIME_S
    if wish.max_time is not None and each > wish.max_time:
        fits = False
        yield (
            WARNING,
            f"A client has {duration(each)}, longer than the whole run ({duration(wish.max_time)}): the last may end "
            "long after it. Give a shorter --feature-time.",
        )
    if state["policy"]["verify"] and state["policy"]["verify_timeout_s"] > each:
        yield (
            WARNING,
            f"The verify command may take {duration(state['policy']['verify_timeout_s'])}, a client has "
            f"{duration(each)} in all. Give a shorter --verify-timeout.",
        )
    if fits:
        yield OK, "; ".join(_format_limits(wish))


def _format_limits(wish: Options) -> List[str]:
    each = [duration(wish.feature_time or options.FEATURE_TIME_S)]
    each += [pluralize(wish.feature_turns, "turn")] if wish.feature_turns else []
    each += [f"${wish.feature_cost:.2f}"] if wish.feature_cost else []
    whole = [f"no feature begins after {duration(wish.max_time)}"] if wish.max_time else []
    whole += [f"nor once ${wish.max_cost:.2f} are spent" if whole else f"no feature begins once ${wish.max_cost:.2f} "
              "are spent"] if wish.max_cost else []  # fmt: skip
    whole += [f"{duration(wish.max_wait)} of waiting in all"] if wish.max_wait else []
    unlimited = [] if wish.max_cost or wish.worker else ["no limit on what it costs"]
    return [f"a client has {', '.join(each)}", *whole, *unlimited]


def _check_permissions(project: Project, state: State, wish: Options, environ: Mapping[str, str]) -> Found:
    """What the settings keep a client from, and whether it may run the tests itself."""
    found = claude_settings.read_settings(project.root, environ)
    yield from doctor.check_permission_rules(found, claude_settings.WORKER_CALLS)
    if wish.permission_mode == "bypassPermissions":
        off = claude_settings.find_disabled_bypass(found)
        if off:
            yield (
                ERROR,
                f"{off[0]} switches the mode bypassPermissions off. Take another: `--permission-mode acceptEdits`.",
            )
        elif os.geteuid() == 0 and environ.get("IS_SANDBOX") != "1":
            yield (
                ERROR,
                "Claude Code refuses the mode bypassPermissions to root. Run as somebody else, or take another: "
                "`--permission-mode acceptEdits`.",
            )
    folder = claude_settings.find_linked_trust_folder(project.private_parent)
    unheard = claude_settings.find_ignored_settings(found, project.root, folder, environ)
    if unheard and wish.permission_mode != "bypassPermissions":
        yield WARNING, f"{doctor.untrusted_folder_message(unheard, folder)} Or allow it for this run: `--allow RULE`."
    verify = state["policy"]["verify"]
    if not verify:
        return
    heard = [(place, data) for place, data in found if place != unheard]
    parts = claude_settings.split_shell_line(verify)
    kept = claude_settings.find_forbidding_rules(found, [("Bash", part) for part in parts])
    unknown = [part for part in parts if not claude_settings.is_command_allowed(heard, wish.allow or (), part)]
    if kept:
        yield (
            WARNING,
            f"A client may not run the verify command itself ({kept[0]}); `batchctl done` runs it all the same.",
        )
    elif wish.permission_mode in ("auto", "bypassPermissions"):
        return
    elif unknown:
        rules = (f"Bash({part})" if len(part) <= MAX_RULE else f"Bash({part.split()[0]}:*)" for part in unknown)
        given = " ".join(f"--allow {shlex.quote(rule)}" for rule in dict.fromkeys(rules))
        yield (
            WARNING,
            f"A client may not run the verify command itself, only `batchctl done` does: it works better when it can "
            f"try its work. `{given}` lets it.",
        )


def _check_client(program: Optional[str], wish: Options) -> Found:
    if program is None and wish.client is not None:
        yield ERROR, f"{wish.client} is no program that can be started. Give the path of `claude`: `--client PATH`."
    else:
        yield from doctor.check_client(program)


def check_login(root: str, program: Optional[str], environ: Mapping[str, str]) -> Found:
    """Check that the client is logged in, without a model turn: `claude auth status` says it."""
    version = doctor.read_client_version(program) if program else None
    if program is None or version is None:
        return
    if version < MIN_AUTH_STATUS_VERSION:
        yield WARNING, "The login of the client is not checked: this version is too old for `claude auth status`."
        return
    environment = claude_process.client_environment(environ, "")
    try:
        result = subprocesses.run([program, "auth", "status"], cwd=root, env=environment, timeout_s=AUTH_STATUS_S)
        status = fast_json.loads(result.stdout)
    except (OSError, ValueError):
        status = None
    is_logged_in = status.get("loggedIn") if isinstance(status, dict) else None
    if is_logged_in is False:
        yield ERROR, "Claude Code is not logged in. Run `claude auth login` in this terminal, or set ANTHROPIC_API_KEY."
    elif is_logged_in is not True:
        yield WARNING, "`claude auth status` does not show whether the client is logged in. Try `claude -p hello`."
    else:
        method = one_line(str(status.get("authMethod")), 40).replace("_", " ")
        yield OK, f"logged in ({method}); the first turn shows whether the login is still accepted"


def _check_pull_requests(root: str, base: str, branch: str) -> Found:
    """Whether pull requests can be opened: gh, the right to write, and a push that would go."""
    place = gh.get_repository(root)
    remote = pull_requests.require_remote(root, place)
    may = gh.get_permission(root)
    if may and may not in MAY_PUSH:
        yield (
            ERROR,
            f"gh's login may only {may.lower()} {place.url}. Ask for the right to write, or let gh mean your fork: `gh "
            "repo set-default`.",
        )
        return
    refused = pull_requests.check_push(root, remote, base, branch)
    if refused:
        yield ERROR, refused
    elif not may:
        yield WARNING, f"gh does not say whether its login may write to {place.url}; git would push to {remote}"
    else:
        yield OK, f"branches go to {remote}, pull requests into {place.url} (its own rules are not tried)"


# -- what a dry run shows ----------------------------------------------------------------------------------------------


def format_dry_run(state: State, found: Sequence[Mapping[str, str]], wish: Options) -> str:
    """What was found, and what a run would do: order, dependencies, what runs side by side, limits."""
    left = _list_remaining(state)
    rounds = list(itertools.islice(_plan_rounds(state, wish.jobs or 1), MAX_ROUNDS + 1))
    lines = [*doctor.format_checks(found), ""]
    lines.append(
        f"Batch {state['batch_id']}: {len(left)} of {pluralize(state['total_features'], 'feature')} to do, up to "
        f"{wish.jobs or 1} at a time."
    )
    beside = path_conflicts.find_conflicts(
        [(index, run_transitions.touched_paths(state, index)) for index in left], MAX_CONFLICTS + 1
    )
    lines += [f"{index + 1:>4}  {_format_feature(state, index, beside[index])}" for index in left]
    if any(len(indices) > 1 for indices in rounds):
        told = " | ".join(", ".join(str(index + 1) for index in indices) for indices in rounds[:MAX_ROUNDS])
        more = " | and so on" if len(rounds) > MAX_ROUNDS else ""
        lines.append(f"Side by side, if all took equally long: {told}{more}")
    branch = worktrees.get_batch_branch(state["batch_id"])
    lines.append(f"Limits: {'; '.join([*_format_limits(wish), *_format_retries(state)])}.")
    worker = (
        f"`{wish.worker[:MAX_TEXT]}`" if wish.worker else f"{wish.client or 'claude'} in mode {wish.permission_mode}"
    )
    lines.append(f"Done by: {clean(worker)}, each in a work tree below {wish.worktrees}.")
    ends = "your branch is moved up to it at the end" if wish.merge else "your branch stays as it is"
    published = {"batch": ", one pull request is opened", "feature": ", a pull request is opened for each feature"}
    lines.append(f"Merged into: {branch}; {ends}{published.get(wish.pr or '', '')}.")
    if _has_errors(found):
        lines.append("It could not start now: see what is bad above.")
    lines.append("Nothing was written or started.")
    return "\n".join(lines)


def _list_remaining(state: State) -> List[int]:
    """Indices of the features that are to be done, in order; one that a dead run had under way is one of them."""
    freed = run_transitions.clear_running(state)
    active = batch_state.active_index(freed)
    to_do = {*batch_state.pending_indices(freed), active}
    return [index for index in batch_state.indices_in_order(freed) if index in to_do]


def _format_feature(state: State, index: int, beside: List[int]) -> str:
    """A feature on one line; `beside` are the first others that it is not done beside."""
    needs = state["feature_dependencies"].get(key(index), ())
    notes = [f"after {', '.join(str(need + 1) for need in sorted(needs))}"] if needs else []
    if beside:
        numbers = ", ".join(str(other + 1) for other in beside[:MAX_CONFLICTS])
        notes.append(f"not beside {numbers}{' and others' if len(beside) > MAX_CONFLICTS else ''}")
    line = one_line(state["features"][index], MAX_TEXT)
    return f"{line}  ({'; '.join(notes)})" if notes else line


def _plan_rounds(state: State, jobs: int) -> Iterator[List[int]]:
    """The features that would run side by side, round by round, if each took as long as any other. What needs
    something that was not completed is in none.
    """
    done: Set[int] = set(state["completed_features"])
    left = _list_remaining(state)
    place = {index: number for number, index in enumerate(left)}
    missing: Dict[int, Set[int]] = {}
    needed: Dict[int, List[int]] = {}
    for index in left:
        missing[index] = {need for need in state["feature_dependencies"].get(key(index), ()) if need not in done}
        for need in missing[index]:
            needed.setdefault(need, []).append(index)
    ready = [place[index] for index in left if not missing[index]]
    while ready:
        now: List[int] = []
        taken, apart = path_conflicts.PathClaims(), []
        while ready and len(now) < jobs:
            index = left[heapq.heappop(ready)]
            paths = run_transitions.touched_paths(state, index)
            if taken.conflicting_number(paths) is None:
                taken.add(index, paths)
                now.append(index)
            else:
                apart.append(place[index])
        yield now
        for index in now:
            for other in needed.get(index, ()):
                missing[other].discard(index)
                if not missing[other]:
                    apart.append(place[other])
        for number in apart:
            heapq.heappush(ready, number)


def _format_retries(state: State) -> List[str]:
    policy = state["policy"]
    return [
        f"{status_report.count_retries(policy['max_retries'])} of a feature",
        f"a pause after {policy['max_failures_in_a_row']} failures in a row",
    ]
