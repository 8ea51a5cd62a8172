"""`batchctl run`: from what was typed to a run, and what is told of it.

    text, data = run(typed, context, ...)               blocks until the night is over; `data["exit_code"]` is 0 when
                                                        every feature is completed,
                                                        of a dry run when nothing would stop it

Nothing is written or started before everything that would stop the night was looked for (`preflight`). Whatever ends
the run, its report is written and `--notify` is told.
"""

from __future__ import annotations

import sys
from concurrent import futures
from typing import Any, BinaryIO, Dict, List, Mapping, Optional, Sequence, TextIO, Tuple

from ..base import timestamps
from ..base.project_paths import Project
from ..cli import arguments
from ..commands import batch_commands
from ..commands.doctor import ERROR
from ..core import batch_state, prompts, run_transitions
from ..core.errors import BatchError, RefusedError, UsageError
from ..features import sources
from ..git import git_client
from ..report import report_files, run_report
from ..store.store import Store
from . import acquire, local_executor, notify, options, pull_requests
from .dask import executor
from .display import live_display
from .driver import Driver
from .options import Options
from .preflight import preflight_checks

TYPE_CHECKING = False
if TYPE_CHECKING:
    import argparse

    from ..commands.command import CommandContext
    from ..core.batch_state import State

EXIT_COMPLETED, EXIT_INCOMPLETE = 0, 1


def run(
    typed: argparse.Namespace,
    context: CommandContext,
    *,
    cwd: str,
    stdin: Optional[BinaryIO],
    environ: Mapping[str, str],
    plugin: str,
) -> Tuple[str, Dict[str, Any]]:
    """Do what was typed after `batchctl run`: the answer as text, and as data."""
    project = context.project
    if context.caller.has_session:
        raise RefusedError(
            "`batchctl run` takes a night and starts clients of its own: run it in a terminal of yours. In here "
            "`/batch-implement` does the same with this client.",
            "own-terminal",
        )
    given = options.from_arguments(typed, cwd)
    if given.resume is None:
        wish = options.with_defaults(given, project.root)
        policy = arguments.policy_from_options(typed, unattended=True)
        found = sources.read(typed, cwd, project.root, stdin)
        context.notes.extend(found.notes)
        plan = batch_commands.plan_batch(project, found, policy, infer_order=typed.infer_order)
    else:
        _refuse_sources_with_resume(typed)
        found, policy = None, {}
        plan = batch_commands.require_batch(context, given.resume or None)
        wish = options.for_resume(plan, given, project.root)
    crew = executor.DaskExecutor(project, wish) if wish.cluster else None
    try:
        checks = preflight_checks.run_checks(project, plan, wish, environ, plugin)
        checks += crew.look() if crew else []
        if found is not None:
            checks += _check_existing_batch(context, replace=typed.replace)
        stoppers = [f"{check['check']}: {check['text']}" for check in checks if check["verdict"] == ERROR]
        if typed.dry_run:
            shown = wish._replace(jobs=wish.jobs or crew.slots) if crew else wish
            data = {
                "checks": checks,
                "order": list(batch_state.indices_in_order(plan)),
                "exit_code": EXIT_INCOMPLETE if stoppers else EXIT_COMPLETED,
            }
            return preflight_checks.format_dry_run(plan, checks, shown), data
        if stoppers:
            raise RefusedError(
                "The night would be stopped; nothing was started. Mend this, then the same again (`--dry-run` shows "
                "all that was looked at):\n" + "\n".join(f"  {line}" for line in stoppers),
                "preflight",
            )
        if found is not None:
            batch_commands.create_batch(context, found, policy, infer_order=typed.infer_order, replace=typed.replace)
        return _drive_batch(project, wish, crew, environ, sys.stderr if typed.json else sys.stdout)
    finally:
        if crew:
            crew.close()


def _check_existing_batch(context: CommandContext, *, replace: bool) -> List[Dict[str, str]]:
    """Whether a batch that is here stands in the way of a new one, in the form of `doctor.run_checks`."""
    try:
        batch_commands.refuse_existing_batch(context.read_state_if_usable(), context.caller, replace=replace)
    except RefusedError as error:
        return [{"check": "batch", "verdict": ERROR, "text": error.message}]
    return []


def _refuse_sources_with_resume(typed: argparse.Namespace) -> None:
    named = [name for name in ("file", "issues", "label", "milestone") if getattr(typed, name) is not None]
    if named:
        raise UsageError(
            "--resume goes on with the batch that is here; a list would start another. Give one of them.", "usage"
        )


def _drive_batch(
    project: Project, wish: Options, crew: Optional[executor.DaskExecutor], environ: Mapping[str, str], stream: TextIO
) -> Tuple[str, Dict[str, Any]]:
    """Drive the batch, on the machines of `crew` if there is one, shown on `stream`, then do what was asked for at its
    end.
    """
    jobs = wish.jobs or (crew.slots if crew else 1)
    on = {"remote": crew.remote, "scheduler": crew.address} if crew else {"remote": None, "scheduler": None}
    kept = {**options.to_stored(wish), **on}
    asked = acquire.RunRequest(jobs, wish.worktrees or f"{project.root}.worktrees", kept, options.to_budgets(wish))
    state = acquire.acquire_run(project, asked, timestamps.now())
    if crew:
        crew.begin(state["batch_id"])
    shown = live_display.open_display(stream, environ)

    def tell(event: str, state: State) -> Dict[str, str]:
        places = _write_reports(project, state, shown)
        if wish.notify:
            said = notify.send(wish.notify, event, state, places, project.root)
            if said:
                shown.event("note", said)
        return places

    try:
        driver = Driver(
            project, state, futures.ThreadPoolExecutor(jobs, thread_name_prefix="worker"), display=shown, told=tell,
            work=crew.work if crew else local_executor.run_job, stop=crew.stop if crew else local_executor.stop_all,
            place=crew.place if crew else None, places=crew.places if crew else None,
        )  # fmt: skip
        try:
            state = driver.run()
        except BatchError:
            left = Store(project).read_if_usable()
            if left is not None and left["batch_id"] == state["batch_id"]:
                tell("failure", left)
            raise
        if crew:
            _update_remote(crew, state, shown)
        state = _open_pull_requests(project, state, wish, shown)
        if wish.merge:
            shown.event("note", _merge_into_target(project, state))
        places = tell("pause" if batch_state.is_live(state) else "end", state)
    finally:
        shown.close()
    data = run_report.build_report(state, timestamps.now())
    done = not batch_state.is_live(state) and batch_state.counts(state)["completed"] == state["total_features"]
    commands = [
        entry
        for entry in data["commands"]
        if not (_is_merged_into_head(project, state) and entry["command"][:4] == "git ")
    ]
    return _ending_text(state, commands, places), {
        "batch_id": state["batch_id"],
        "status": state["status"],
        "counts": batch_state.counts(state),
        "ended_why": state["run"]["ended_why"],
        "branch": state["run"]["branch"],
        "reports": places,
        "exit_code": EXIT_COMPLETED if done else EXIT_INCOMPLETE,
    }


def _update_remote(crew: executor.DaskExecutor, state: State, shown: live_display.Display) -> None:
    try:
        crew.settle(state)
    except BatchError as error:
        shown.event("note", f"The remote was not brought up to date: {error.message}")


def _write_reports(project: Project, state: State, shown: live_display.Display) -> Dict[str, str]:
    """Write the reports: format -> path; none when that does not work, which is told."""
    try:
        return report_files.write_reports(project, state, timestamps.now())
    except (BatchError, OSError) as error:
        shown.event("note", f"The report could not be written: {error}. `batchctl report` shows it.")
        return {}


def _open_pull_requests(project: Project, state: State, wish: Options, shown: live_display.Display) -> State:
    """Open the pull requests that were asked for and note what became of them."""
    store = Store(project)
    if wish.pr == "batch" and state["completed_features"]:
        text = report_files.render(run_report.build_report(state, timestamps.now()), "md")
        record = pull_requests.open_for_batch(project, state, text)
        state = store.update(lambda current: run_transitions.record_pull_request(current, record))
        shown.event("note", _pull_request_note("the batch", record))
    for index in state["completed_features"] if wish.pr == "feature" else ():
        known = state["git_operations"].get(batch_state.key(index), {}).get("pr", {})
        if known.get("success"):
            continue
        state = _open_pull_request_of_feature(project, store, state, index, shown)
    return state


def _open_pull_request_of_feature(
    project: Project, store: Store, state: State, index: int, shown: live_display.Display
) -> State:
    from ..core import transitions

    record = pull_requests.open_for_feature(project, state, index)
    shown.event("note", _pull_request_note(f"feature {index + 1}", record))
    return store.update(lambda current: transitions.record_git_operation(current, index, "pr", record))


def _pull_request_note(what: str, record: Mapping[str, Any]) -> str:
    if record["success"]:
        return f"The pull request of {what} is open: {record.get('url')}"
    return f"There is no pull request of {what}: {record.get('error')}"


def _merge_into_target(project: Project, state: State) -> str:
    """Fast-forward the person's branch to the result, where that is possible; what came of it, in a sentence."""
    run, root = state["run"], project.root
    by_hand = f"`git merge {run['branch']}` does it by hand."
    if git_client.get_branch(root) != run["target"]:
        return f"Your work tree is not on {run['target']} any more, so nothing was merged into it. {by_hand}"
    if git_client.list_changes(root)[0]:
        return f"Your work tree has changes that are not committed, so nothing was merged into it. {by_hand}"
    merged = git_client.run_git(root, "merge", "--quiet", "--ff-only", run["branch"], check=False)
    if merged.returncode != 0:
        return f"{run['target']} could not be fast-forwarded: {' '.join(merged.stderr.split())[:300]} {by_hand}"
    return f"{run['target'] or 'HEAD'} is at {run['branch']} now."


def _is_merged_into_head(project: Project, state: State) -> bool:
    """Whether the person's HEAD has all that was done: there is nothing left to look at or to merge."""
    done = git_client.get_branch_tip(project.root, state["run"]["branch"])
    return done is not None and git_client.has_commit(project.root, done)


def _ending_text(state: State, commands: Sequence[Mapping[str, str]], places: Mapping[str, str]) -> str:
    """How it ended and how to go on, for a person at a terminal."""
    lines = [f"Batch {state['batch_id']}: {prompts.progress_summary(state)}; {state['run']['ended_why']}."]
    if state["pause"]:
        lines.append(f"Paused: {' '.join(state['pause']['reason'].split())}")
    if "html" in places:
        lines.append(f"The report: {places['html']}")
    lines += [f"{entry['what']}: {entry['command']}" for entry in commands]
    return "\n".join(lines)
