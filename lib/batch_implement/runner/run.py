"""Run the command `batchctl run`: preflight checks, then the driver, then reports, pull requests and the merge.

    text, data = run(arguments, context, ...)           blocks until the run has ended. `data["exit_code"]` is 0 when
                                                        every feature is completed, or a dry run found no error

Nothing is written or started before all preflight checks have passed. Whatever ends the run, `_drive_batch` ends it:
the driver leaves no process and no lease, the report is written, the `--notify` command is called, and the result or
the error names the next step. Pull requests, merge, report and notification never fail a run that has ended.
"""

from __future__ import annotations

import functools
import os
import shutil
import sys
import traceback
from typing import Any, BinaryIO, Dict, List, Mapping, Optional, Tuple

from ..base import timestamps
from ..base.project_paths import Project
from ..base.text import one_line
from ..cli import arguments
from ..commands import batch_commands, doctor, earlier_batches, list_ticking
from ..core import batch_state, prompts, run_transitions, transitions
from ..core.errors import BatchError, RefusedError, UsageError
from ..features import sources
from ..git import git_client
from ..report import list_reading, report_files, run_report, status_report
from ..store.store import Store
from . import acquire_batch, local_executor, notify, options, pull_requests
from .dask.executor import DaskExecutor
from .display import live_display
from .display.live_display import Display
from .driver import Driver, try_step
from .options import Options
from .preflight import preflight_checks

TYPE_CHECKING = False
if TYPE_CHECKING:
    import argparse

    from ..commands.command import CommandContext
    from ..core.batch_state import State

EXIT_COMPLETED, EXIT_INCOMPLETE = 0, 1
EXIT_UNCHANGED = 5  # all features are completed, some of them without a change


def run(
    typed: argparse.Namespace,
    context: CommandContext,
    *,
    cwd: str,
    stdin: Optional[BinaryIO],
    environ: Mapping[str, str],
    plugin: str,
) -> Tuple[str, Dict[str, Any]]:
    """Run the command with the parsed arguments `typed`. Return its output as text and as data."""
    project = context.project
    if context.caller.session_id:
        raise RefusedError(
            "`batchctl run` starts its own clients and blocks for hours: run it in a terminal. In this client, use "
            "`/batch-implement`.",
            "own-terminal",
        )
    run_options = options.from_arguments(typed, cwd)
    if run_options.resume is None:
        run_options = options.with_defaults(run_options, project.root)
        policy = {**arguments.policy_from_options(typed, unattended=True), **options.to_policy(run_options)}
        feature_list = sources.read(typed, cwd, project.root, stdin)
        context.notes.extend(feature_list.notes)
        context.notes.extend(list_ticking.find_problems(project, feature_list))
        feature_list, done_earlier = earlier_batches.leave_out_done(context, feature_list)
        plan = batch_commands.plan_batch(feature_list, policy, infer_order=typed.infer_order)
    else:
        if any(getattr(typed, name) is not None for name in ("file", "issues", "label", "milestone")):
            raise UsageError(
                "--resume cannot be used with a list of features: it resumes the batch that exists. Leave out one of "
                "them.",
                "usage",
            )
        feature_list, policy, done_earlier = None, {}, []
        plan = batch_commands.require_batch(context, run_options.resume or None)
        run_options = options.for_resume(plan, run_options, project.root)
        plan = {**plan, "policy": {**plan["policy"], **options.to_policy(run_options)}}
    cluster = DaskExecutor(project, run_options) if run_options.cluster else None
    try:
        checks = preflight_checks.run_checks(
            project, plan, run_options, environ, plugin, context.read_state_if_usable()
        )
        checks += cluster.check() if cluster else []
        if feature_list is not None:
            checks += _check_existing_batch(context, replace=typed.replace)
        errors = [f"{check['check']}: {check['text']}" for check in checks if check["verdict"] == doctor.ERROR]
        if typed.dry_run:
            shown = run_options._replace(jobs=run_options.jobs or cluster.slots) if cluster else run_options
            listing = feature_list.listing if feature_list is not None else None
            return preflight_checks.format_dry_run(plan, checks, shown, listing), {
                "checks": checks,
                **(list_reading.reading_data(listing) if listing is not None else {}),
                "order": list(batch_state.indices_in_order(plan)),
                "exit_code": EXIT_INCOMPLETE if errors else EXIT_COMPLETED,
            }
        if errors:
            raise RefusedError(
                "Preflight checks failed; nothing was started. Fix the following and run the command again "
                "(`--dry-run` lists all checks):\n" + "\n".join(f"  {line}" for line in errors),
                "preflight",
            )
        if feature_list is not None:
            left_out = list_reading.summarize_left_out(feature_list.listing.left_out)
            context.notes.extend([*done_earlier, *([left_out] if left_out else [])])
            batch_commands.create_batch(
                context, feature_list, policy, infer_order=typed.infer_order, replace=typed.replace
            )
        display = live_display.open_display(sys.stderr if typed.json else sys.stdout, environ)
        try:
            for check in checks:
                if check["verdict"] == doctor.WARNING:
                    display.event("warning", f"{check['check']}: {check['text']}")
            state = _acquire_batch(context.store, run_options, cluster)
            state, reports = _drive_batch(context.store, state, run_options, cluster, display)
        finally:
            display.close()
        return _describe_end(project, state, reports)
    finally:
        if cluster:
            cluster.close()


def _check_existing_batch(context: CommandContext, *, replace: bool) -> List[Dict[str, str]]:
    """Check that no unfinished batch prevents a new one, in the form of `doctor.run_checks`."""
    try:
        batch_commands.refuse_existing_batch(context.read_state_if_usable(), context.caller, replace=replace)
    except RefusedError as error:
        return [{"check": "batch", "verdict": doctor.ERROR, "text": error.message}]
    return []


def _acquire_batch(store: Store, run_options: Options, cluster: Optional[DaskExecutor]) -> State:
    """Acquire the batch for this run, with what the state keeps of its options."""
    jobs = run_options.jobs or (cluster.slots if cluster else 1)
    stored = options.to_stored(run_options)
    stored.update(remote=cluster.remote if cluster else None, scheduler=cluster.address if cluster else None)
    program = shutil.which(run_options.client or "claude") if run_options.worker is None and not cluster else None
    stored["client_version"] = doctor.read_client_version(program) if program else None
    state = acquire_batch.acquire_run(
        store, timestamps.now(), jobs=jobs, worktrees=run_options.worktrees or "", options=stored,
        budgets=options.to_budgets(run_options), policy=options.to_policy(run_options),
    )  # fmt: skip
    if cluster:
        cluster.begin(state["batch_id"])
    return state


def _drive_batch(
    store: Store, state: State, run_options: Options, cluster: Optional[DaskExecutor], display: Display
) -> Tuple[State, Dict[str, str]]:
    """Drive the batch to its end, publish what was asked for. Return the last state and the paths of the reports.

    Raise what ended the run, with the next step in its message, after the report was written and the user notified.
    """
    project = store.project
    report = functools.partial(_report_event, project, run_options, display)
    driver = Driver(store, state, cluster or local_executor, display=display, notify=report)
    try:
        state = driver.run()
    except Exception as error:
        report("failure", _read_last_state(driver))
        raise _with_next_step(error) from error
    try:
        ticked = list_ticking.tick_list(project, state, in_run=True)
        if ticked:
            display.event("note", ticked)
        if cluster:
            try_step(display, "Updating the remote", lambda: cluster.settle(state))
        if run_options.pr and state["completed_features"]:
            try_step(display, "Opening pull requests", lambda: _open_pull_requests(store, state, run_options, display))
        if run_options.merge:
            try_step(display, "Merging", lambda: display.event("note", _merge_into_target(project, state)))
    finally:
        state = _read_last_state(driver)
        reports = report("pause" if batch_state.is_live(state) else "end", state)
    return state, reports


def _read_last_state(driver: Driver) -> State:
    """Return the state of the driver's batch as it is now, or as the driver saw it last if it is gone or unusable."""
    try:
        state = driver.store.read_if_usable()
    except (BatchError, OSError):
        state = None
    return state if state is not None and state["batch_id"] == driver.batch_id else driver.last_state


def _with_next_step(error: Exception) -> BatchError:
    """Return an error that ended a run as one whose message names the next step."""
    if not isinstance(error, BatchError):  # of the system, or a bug
        line = traceback.extract_tb(error.__traceback__)[-1]
        where = f"{type(error).__name__} in {os.path.basename(line.filename)}, line {line.lineno}"
        error = RefusedError(f"The run ended with an error: {error or 'no message'} ({where}).", "run-stopped")
    if "`batchctl status`" not in error.message and "`batchctl run --resume`" not in error.message:
        error.message += " `batchctl run --resume` resumes the run."
    return error


def _report_event(project: Project, run_options: Options, display: Display, event: str, state: State) -> Dict[str, str]:
    """Write the reports and call the `--notify` command. Return the paths of the reports by format, {} on an error."""
    try:
        reports = report_files.write_reports(project, state, timestamps.now())
    except Exception as error:  # nothing about a report may end the run
        display.event("note", f"Writing the report failed: {error}. `batchctl report` shows it.")
        reports = {}
    if run_options.notify:
        problem = notify.send(run_options.notify, event, state, reports, project.root)
        if problem:
            display.event("note", problem)
    return reports


def _open_pull_requests(store: Store, state: State, run_options: Options, display: Display) -> None:
    """Open the pull requests that were asked for and record the results."""
    if run_options.pr == "batch":
        text = report_files.render(run_report.build_report(state, timestamps.now()), "md")
        record = pull_requests.open_for_batch(store.project, state, text)
        store.update(lambda current: run_transitions.record_pull_request(current, record))
        _show_pull_request(display, "the batch", record)
    for index in state["completed_features"] if run_options.pr == "feature" else ():
        if not state["git_operations"].get(batch_state.key(index), {}).get("pr", {}).get("success"):
            record = pull_requests.open_for_feature(store.project, state, index)
            _show_pull_request(display, f"feature {index + 1}", record)
            state = store.update(
                lambda current, index=index, record=record: transitions.record_git_operation(  # type: ignore[misc]
                    current, index, "pr", record
                )
            )


def _show_pull_request(display: Display, subject: str, record: Mapping[str, Any]) -> None:
    failure = f"Opening a pull request for {subject} failed: {record['error']}"
    display.event("note", f"Pull request for {subject}: {record['url']}" if record["success"] else failure)


def _merge_into_target(project: Project, state: State) -> str:
    """Fast-forward the user's branch to the result where possible. Return a message with the result."""
    root, branch, target = project.root, state["run"]["branch"], state["run"]["target"]
    if git_client.get_branch(root) != target:
        problem = f"your working tree is no longer on {target}"
    elif git_client.list_changes(root)[0]:
        problem = "your working tree has uncommitted changes"
    else:
        merged = git_client.run_git(root, "merge", "--quiet", "--ff-only", branch, check=False)
        if merged.returncode == 0:
            return f"Merged: {target or 'HEAD'} is at {branch} now."
        problem = one_line(merged.stderr)
    return f"Not merged into {target}: {problem.rstrip('.')}. `git merge {branch}` merges it."


def _describe_end(project: Project, state: State, reports: Mapping[str, str]) -> Tuple[str, Dict[str, Any]]:
    """Return how the run ended and the next steps, as text for a terminal and as data."""
    counts, run_state = status_report.status_counts(state), state["run"]
    lines = [f"Batch {state['batch_id']}: {prompts.progress_summary(state)}; {run_state['ended_why']}."]
    if state["pause"]:
        lines.append(f"Paused: {one_line(state['pause']['reason'], 2000)}")
    if "html" in reports:
        lines.append(f"Report: {reports['html']}")
    try:
        tip = git_client.get_branch_tip(project.root, run_state["branch"])
        is_merged = tip is not None and git_client.has_commit(project.root, tip)  # nothing is left to look at or merge
    except BatchError:
        is_merged = False
    for step in run_report.build_report(state, timestamps.now()).commands:
        if not (is_merged and step.command.startswith("git ")):
            lines.append(f"{step.what}: {step.command}")
    done_code = EXIT_UNCHANGED if batch_state.count_unchanged(state) else EXIT_COMPLETED
    is_done = not batch_state.is_live(state) and counts["done"] == counts["total"]
    return "\n".join(lines), {
        "batch_id": state["batch_id"],
        "status": state["status"],
        "counts": counts,
        "ended_why": run_state["ended_why"],
        "branch": run_state["branch"],
        "reports": reports,
        "exit_code": done_code if is_done else EXIT_INCOMPLETE,
    }
