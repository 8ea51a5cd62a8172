"""Check before a run starts what would stop it, and show with `--dry-run` what a run would do.

    checks = run_checks(project, state, options, os.environ, plugin, previous)      as `doctor.run_checks` returns them
    print(format_dry_run(state, checks, options))

`state` is a plan that is not written yet, or the batch to resume. Cheap checks come first, and what depends on a failed
one is not tried; the setup command, a commit and the verify command are tried in a temporary worktree, if there is no
error. No model turn is spent, and nothing in the user's working tree changes.
"""

from __future__ import annotations

import itertools
import os
import shlex
import shutil

from ...base import fast_json, process_identity, subprocesses
from ...base.text import clean, duration, one_line
from ...commands import authorization, claude_settings, doctor, verify_command
from ...commands.doctor import ERROR, OK, WARNING
from ...core import batch_policy, batch_state, path_conflicts, run_transitions
from ...core.batch_state import key
from ...core.prompts import pluralize
from ...git import gh, worktrees
from ...report import list_reading, status_report
from .. import claude_process, pull_requests
from ..options import FEATURE_TIME_S
from . import environment_checks, isolation_check
from .verify_check import check_setup, check_verify

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Dict, Iterable, Iterator, List, Mapping, Optional, Sequence, Tuple

    from ...base.project_paths import Project
    from ...core.batch_state import State
    from ...features.feature_list import Listing
    from ..options import Options

    Found = Iterator[Tuple[str, str]]
    Checks = List[Dict[str, str]]

MIN_AUTH_STATUS_VERSION = doctor.MEASURED_CLIENT  # an older one may take it for a prompt
AUTH_STATUS_S = 30
MAY_PUSH = ("ADMIN", "MAINTAIN", "WRITE")
NOT_TRIED = {"check": "verify", "verdict": WARNING, "text": "not tried because of the errors above"}
OTHER_FOLDER = "give another folder: `--worktrees DIR`"
MAX_TEXT = 100
MAX_CONFLICTS = 5
MAX_ROUNDS = 30


def run_checks(
    project: Project, state: State, options: Options, environ: Mapping[str, str], plugin: str, previous: Optional[State]
) -> Checks:
    """Run all checks and return their results, as `doctor.run_checks` does. `previous` is the state that is there."""
    root, batch_id = project.root, state["batch_id"]
    branch, top = worktrees.get_batch_branch(batch_id), options.worktrees or ""
    jobs = 1 if options.cluster else options.jobs or 1
    count = environment_checks.count_worktrees(0 if options.cluster else jobs, options.verify_jobs or 1)
    checks = doctor.collect_checks([("python", doctor.check_python), ("git", lambda: doctor.check_git(project))])
    if _has_errors(checks):
        return checks
    checks += doctor.collect_checks([
        ("tree", lambda: environment_checks.check_working_tree(root, merge=bool(options.merge))),
        ("branch", lambda: environment_checks.check_branches(root, batch_id, branch)),
        ("branch", lambda: environment_checks.check_previous_batch(root, previous, batch_id)),
        ("worktrees", lambda: environment_checks.check_worktrees_folder(root, top)),
        ("features", lambda: _check_features(state, options)),
        ("limits", lambda: _check_limits(state, options)),
    ])  # fmt: skip
    if options.worker is None and not options.cluster:  # a cluster checks each worker there
        program = shutil.which(options.client or "claude", path=environ.get("PATH"))
        checks += doctor.collect_checks([
            ("hooks", lambda: doctor.check_hooks(plugin)),
            ("permissions", lambda: _check_permissions(project, state, options, environ)),
            ("client", lambda: doctor.check_client(program or options.client)),
            ("login", lambda: check_login(root, program, environ)),
            ("memory", lambda: environment_checks.check_memory(jobs)),
        ])  # fmt: skip
    if not options.cluster:
        checks += doctor.collect_checks([
            ("isolation", lambda: isolation_check.check_isolation(root, state["policy"]["verify"], environ)),
        ])  # fmt: skip
    base = environment_checks.get_start_commit(root, branch)
    if base is None:
        return checks
    checks += doctor.collect_checks([
        ("disk", lambda: environment_checks.check_disk_space(
            environment_checks.measure_tree_bytes(root, base) / 1e6, top, count, "--jobs", OTHER_FOLDER
        )),
    ])  # fmt: skip
    if options.pr is not None:
        checks += doctor.collect_checks([("remote", lambda: _check_pull_requests(root, base, branch))])
    if _has_errors(checks):
        return [*checks, NOT_TRIED]
    folder, policy = os.path.join(top, batch_id, worktrees.PREFLIGHT_NAME), state["policy"]
    setup, feature_time_s = verify_command.get_setup(policy, (root, folder), 0), options.feature_time or FEATURE_TIME_S
    try:
        if setup and setup.command:
            checks += doctor.collect_checks([
                ("setup", lambda: check_setup(
                    root, base, folder, setup, feature_time_s=feature_time_s,
                    check_space=lambda tree_mb, setup_mb: environment_checks.check_disk_space(
                        tree_mb, top, count, "--jobs", OTHER_FOLDER, setup_mb=setup_mb
                    ),
                )),
            ])  # fmt: skip
            if _has_errors(checks):
                return [*checks, NOT_TRIED]
        return checks + doctor.collect_checks([
            ("verify", lambda: check_verify(
                root, base, folder, policy["verify"], timeout_s=policy["verify_timeout_s"],
                feature_time_s=feature_time_s, setup=setup,
            )),
        ])  # fmt: skip
    finally:
        worktrees.remove_generated(root, folder)


def _has_errors(checks: Sequence[Mapping[str, str]]) -> bool:
    return any(entry["verdict"] == ERROR for entry in checks)


def _check_features(state: State, options: Options) -> Found:
    """Check that there are pending features, that nobody else works on them, and that their evidence can be had."""
    if process_identity.is_owner_alive(state["owner"]):
        yield ERROR, authorization.batch_in_use_error(state).message
    remaining = _list_remaining(state)
    if not remaining:
        yield ERROR, "No features to do. `batchctl add FILE` appends features, `batchctl retry` retries failed ones."
        return
    reviewed = [index for index in remaining if "review" in batch_policy.feature_policy(state, index)["evidence"]]
    if options.worker is not None and reviewed:
        yield (
            ERROR,
            f"Feature {reviewed[0] + 1} needs a review by the agent batch-implement:reviewer, which --worker cannot "
            "give. Leave out `--worker`, or create the batch without `--review`.",
        )
    counts = batch_state.counts(state)
    done = f"{counts['completed']} of {counts['total']} done, " if counts["completed"] else ""
    yield OK, f"{done}{len(remaining)} to do; all dependencies are known and in order"


def _check_limits(state: State, options: Options) -> Found:
    """Check that no limit is reached before the run starts."""
    spent = (state.get("run") or {}).get("spent", {})
    cost, waited = spent.get("cost_usd", 0), spent.get("waited_s", 0)
    each = options.feature_time or FEATURE_TIME_S
    problems = []
    if options.max_cost is not None and cost >= options.max_cost:
        problems.append(
            (ERROR, f"The batch has cost ${cost:.2f} already. Give more than --max-cost {options.max_cost:.2f}.")
        )
    if options.max_wait is not None and waited >= options.max_wait:
        limit = duration(options.max_wait)
        problems.append((ERROR, f"The batch has waited {duration(waited)} already. Give more than --max-wait {limit}."))
    if options.max_time is not None and each > options.max_time:
        limits = f"A client has {duration(each)}, the whole run only {duration(options.max_time)}"
        problems.append((WARNING, f"{limits}: the last client may end late. Give a shorter --feature-time."))
    yield from problems
    verify_s = state["policy"]["verify_timeout_s"]
    if state["policy"]["verify"] and verify_s > each:
        limits = f"The verify command may take {duration(verify_s)}, a client has {duration(each)} in all"
        yield WARNING, f"{limits}. Give a shorter --verify-timeout."
    if not problems:
        yield OK, "; ".join(_format_limits(options))


def _format_limits(options: Options) -> List[str]:
    each = [duration(options.feature_time or FEATURE_TIME_S)]
    each += [pluralize(options.feature_turns, "turn")] if options.feature_turns else []
    each += [f"${options.feature_cost:.2f}"] if options.feature_cost else []
    limits = [f"a client has {', '.join(each)}"]
    limits += [f"no feature starts after {duration(options.max_time)}"] if options.max_time else []
    limits += [f"no feature starts after ${options.max_cost:.2f} are spent"] if options.max_cost else []
    limits += [f"at most {duration(options.max_wait)} of waiting"] if options.max_wait else []
    return limits + ([] if options.max_cost or options.worker else ["no limit on the cost"])


def _check_permissions(project: Project, state: State, options: Options, environ: Mapping[str, str]) -> Found:
    """Check what Claude Code's settings forbid a client, and whether it may run the verify command itself."""
    settings = claude_settings.read_settings(project.root, environ)
    yield from doctor.check_permission_rules(settings, claude_settings.WORKER_CALLS)
    other_mode = "Use another mode: `--permission-mode acceptEdits`."
    if options.permission_mode == "bypassPermissions":
        disabled = claude_settings.find_disabled_bypass(settings)
        if disabled:
            yield ERROR, f"{disabled[0]} disables the mode bypassPermissions. {other_mode}"
        elif os.geteuid() == 0 and environ.get("IS_SANDBOX") != "1":
            yield ERROR, f"Claude Code refuses the mode bypassPermissions to root. Use another user. {other_mode}"
    folder = claude_settings.find_linked_trust_folder(project.private_parent)
    ignored = claude_settings.find_ignored_settings(settings, project.root, folder, environ)
    if ignored and options.permission_mode != "bypassPermissions":
        yield WARNING, f"{doctor.untrusted_folder_message(ignored, folder)} Or allow it for this run: `--allow RULE`."
    if not state["policy"]["verify"]:
        return
    effective = [(place, data) for place, data in settings if place != ignored]
    parts = claude_settings.split_shell_line(state["policy"]["verify"])
    forbidden = claude_settings.find_forbidding_rules(settings, [("Bash", part) for part in parts])
    allowed = [*(options.allow or ()), *claude_settings.derive_rules(state["policy"]["verify"])]
    missing = claude_settings.list_missing_rules(effective, allowed, state["policy"]["verify"])
    if forbidden:
        yield WARNING, f"A client may not run the verify command ({forbidden[0]}); `batchctl done` still runs it."
    elif options.permission_mode in ("auto", "bypassPermissions"):
        return
    elif not parts:
        yield (
            WARNING,
            "No rule can allow a client the verify command; only `batchctl done` runs it. Put it into a script.",
        )
    elif missing:
        allow = " ".join(f"--allow {shlex.quote(rule)}" for rule in missing)
        yield (
            WARNING,
            "A client may not run every variant of the verify command, like one test; it works better if it can. Allow "
            f"that with `{allow}`.",
        )


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
    """Check that pull requests can be opened: gh works, its login may write, and a push would be accepted."""
    repository = gh.get_repository(root)
    remote = pull_requests.require_remote(root, repository)
    permission = gh.get_permission(root)
    if permission and permission not in MAY_PUSH:
        yield (
            ERROR,
            f"gh's login has only the permission `{permission.lower()}` on {repository.url}. Ask for write permission, "
            "or choose your fork with `gh repo set-default`.",
        )
        return
    pull_requests.push_branch(root, remote, base, branch, "--dry-run")  # hooks of the remote do not run
    if not permission:
        yield WARNING, f"gh does not say whether its login may write to {repository.url}; git would push to {remote}"
    else:
        yield OK, f"branches go to {remote}, pull requests to {repository.url} (its branch rules are not checked)"


def format_dry_run(
    state: State, checks: Sequence[Mapping[str, str]], options: Options, listing: Optional[Listing] = None
) -> str:
    """Return the checks and what a run would do: order, dependencies, what runs in parallel, limits.

    `listing` is the list that the batch would be made of, None when it is there already.
    """
    remaining, jobs = _list_remaining(state), options.jobs or 1
    rounds = list(itertools.islice(_plan_rounds(state, jobs), MAX_ROUNDS + 1))
    count = pluralize(state["total_features"], "feature")
    touched = [(index, run_transitions.touched_paths(state, index)) for index in remaining]
    conflicts = path_conflicts.find_conflicts(touched, MAX_CONFLICTS + 1)
    lines = [
        *doctor.format_checks(checks),
        "",
        f"Batch {state['batch_id']}: {len(remaining)} of {count} to do, up to {jobs} at a time.",
        *(f"{index + 1:>4}  {_format_feature(state, index, conflicts[index])}" for index in remaining),
    ]
    if any(len(indices) > 1 for indices in rounds):
        plan = " | ".join(_format_numbers(indices) for indices in rounds[:MAX_ROUNDS])
        more = " | ..." if len(rounds) > MAX_ROUNDS else ""
        lines.append(f"In parallel, if all take equally long: {plan}{more}")
    policy = state["policy"]
    retries = f"{status_report.count_retries(policy['max_retries'])} of a feature"
    pause = f"a pause after {policy['max_failures_in_a_row']} failures in a row"
    lines.append(f"Limits: {'; '.join([*_format_limits(options), retries, pause])}.")
    client = f"{options.client or 'claude'} in mode {options.permission_mode}"
    worker = f"`{options.worker[:MAX_TEXT]}`" if options.worker else client
    lines.append(f"Done by: {clean(worker)}, each in a worktree below {options.worktrees}.")
    merge = "merged into your branch at the end" if options.merge else "your branch stays as it is"
    pull_request = {"batch": ", one pull request", "feature": ", a pull request for each feature"}.get(
        options.pr or "", ""
    )
    lines.append(f"Merged into: {worktrees.get_batch_branch(state['batch_id'])}; {merge}{pull_request}.")
    if listing is not None:
        lines += [f"Read as {clean(listing.format)}."] if listing.format else []
        lines += list_reading.format_reading(listing)
    if _has_errors(checks):
        lines.append("The run could not start: see the errors above.")
    lines.append("Nothing was written or started.")
    return "\n".join(lines)


def _format_numbers(indices: Iterable[int]) -> str:
    return ", ".join(str(index + 1) for index in indices)


def _list_remaining(state: State) -> List[int]:
    """Return the indices of the features to do, in order, with those that a dead run had begun."""
    freed = run_transitions.clear_running(state)
    to_do = {*batch_state.pending_indices(freed), batch_state.active_index(freed)}
    return [index for index in batch_state.indices_in_order(freed) if index in to_do]


def _format_feature(state: State, index: int, conflicts: List[int]) -> str:
    """Return a line on a feature; `conflicts` are the first features that it does not run in parallel with."""
    needs = state["feature_dependencies"].get(key(index), ())
    notes = [f"needs {_format_numbers(sorted(needs))}"] if needs else []
    if conflicts:
        more = " and others" if len(conflicts) > MAX_CONFLICTS else ""
        notes.append(f"not in parallel with {_format_numbers(conflicts[:MAX_CONFLICTS])}{more}")
    line = one_line(state["features"][index], MAX_TEXT)
    return f"{line}  ({'; '.join(notes)})" if notes else line


def _plan_rounds(state: State, jobs: int) -> Iterator[List[int]]:
    """Yield the features that would run in parallel, round by round, if all took equally long.

    A feature that needs one that was not completed is in no round.
    """
    remaining, completed = _list_remaining(state), set(state["completed_features"])
    while remaining:
        chosen: List[int] = []
        claims = path_conflicts.PathClaims()
        for index in remaining:
            if len(chosen) == jobs:
                break
            if completed.issuperset(state["feature_dependencies"].get(key(index), ())):
                paths = run_transitions.touched_paths(state, index)
                if claims.conflicting_number(paths) is None:
                    claims.add(index, paths)
                    chosen.append(index)
        if not chosen:
            return
        yield chosen
        completed.update(chosen)
        remaining = [index for index in remaining if index not in completed]
