"""Make one attempt at one feature, in a process of its own: worktree, batch of one feature, client, result.

    python -I -c ENTRY LIB      the job is a line of JSON on standard input, the outcome goes to standard output

The process stops when its standard input is closed (the driver has died) or on SIGTERM: it ends its client and all that
the client has started, and the outcome is `interrupted`. The batch of one feature in the worktree keeps everything: a
later attempt in the same worktree resumes it, and one that is done already is only reported.
"""

from __future__ import annotations

import functools
import json
import math
import os
import re
import signal
import sys
import threading
import time
from typing import Any, Dict, List, Optional, Tuple

from ..base import process_identity, project_paths, subprocesses, timestamps
from ..base.project_paths import Project
from ..commands import attempt_leftovers, claude_settings, feature_commands, verify_command
from ..core import batch_policy, batch_state, failure_classification, lease, transitions
from ..core.errors import EXIT_STILL_RUNNING, HELP_PREFIX, BatchError, RefusedError, UsageError
from ..core.failure_classification import TREATMENT
from ..core.prompts import pluralize
from ..git import git_client, merging, tree_setup, untracked_files, worktrees
from ..store import written_files
from ..store.store import Store
from . import attempt_verify, claude_process, logs
from . import job as jobs
from .claude_stream import ClientStream
from .dask import repository_cache
from .job import COMPLETED, FAILED, INTERRUPTED, NEEDS_USER, SPENT, Job, Outcome, kind_of_failure, new_outcome

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ..core.batch_state import State

KILLED_GIT = re.compile(r"exit status -[0-9]+, no output|died of signal [0-9]+")


def main() -> int:
    """Read the job, make the attempt and print the outcome. Return the exit status."""
    signal.signal(signal.SIGINT, lambda *_: None)  # not SIG_IGN: child processes would inherit that
    stopped = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: stopped.set())
    job = Job(**json.loads(sys.stdin.buffer.readline()))
    threading.Thread(target=_stop_when_stdin_closes, args=(stopped,), daemon=True).start()
    outcome = run_attempt(job, stopped)
    try:
        sys.stdout.write(json.dumps(outcome._asdict()) + "\n")
        sys.stdout.flush()
    except BrokenPipeError:
        return 1
    logs.mark_reported(Project(repository_cache.get_worktree(job)))
    return 0


def _stop_when_stdin_closes(stopped: threading.Event) -> None:
    # Not through sys.stdin: at exit Python aborts when it cannot take the lock of a file that a thread reads.
    while os.read(0, 4096):
        pass
    stopped.set()


def run_attempt(job: Job, stopped: threading.Event) -> Outcome:
    """Make the attempt and return its outcome. Errors become outcomes; only bugs are raised."""
    start_s, started_at = time.monotonic(), timestamps.now()
    usage: Dict[str, Any] = dict.fromkeys(SPENT, 0)
    session_logs, notes, stream = "", [], ClientStream()
    original_job, cached = job, None
    try:
        if job.remote:
            cached = repository_cache.prepare(job)
            job = cached.job
        worktrees.end_processes(job.worktree)
        worktrees.add(job.repository, job.worktree, job.branch, job.base)
        _set_up_worktree(job, stopped)
        store = Store(Project(job.worktree), trusted=False)  # what changes the state there is the client
        notes = store.notes
        usage.update(logs.unreported_usage(store.project))
        session_logs = os.path.join(logs.logs_folder(store.project), job.session_id)
        state = _open_batch(store, job)
        with attempt_verify.Verifier(store.project, state, job, stopped) as verifier:
            if state["active"] and cached and cached.pushed and _run_batchctl_done(store.project, stopped) == "":
                state = store.require()
            has_worked = bool(state["active"]) and verifier.error is None
            if has_worked:
                ended = _run_worker(store, state, job, stream, session_logs, stopped)
                for name, number in stream.spent().items():
                    usage[name] += number
        verifier.raise_error()
        result = (
            _decide_result(store, job, ended, stream, session_logs, stopped)
            if has_worked
            else _result_of_state(state, job)
        )
        if result["kind"] == COMPLETED:  # the merge queue verifies it, maybe on another base
            worktrees.keep_submodule_commits(job.repository, job.worktree)
    except repository_cache.Unreachable as error:
        result = repository_cache.get_unreachable_verdict(error.message)
    except tree_setup.SetupStopped as error:
        result = {"kind": INTERRUPTED, "message": error.message, "failure_class": "stopped"}
    except tree_setup.SetupFailed as error:
        result = _result_of_error(error.message, error.output)
    except BatchError as error:
        result = _result_of_error(error.message)
    except OSError as error:
        result = _result_of_error(f"{error.filename or 'I/O error'}: {error.strerror}")
    usage["seconds"] = round(time.monotonic() - start_s, 3)
    log_limit = logs.MAX_SENT_BYTES if cached else logs.MAX_LOG_BYTES
    log_texts = logs.read_logs(session_logs, result.get("evidence"), log_limit) if session_logs else {}
    if cached:
        result = repository_cache.finish(cached, original_job, result)
    return new_outcome(
        job, **result, spent=usage, started_at=started_at, log=session_logs, log_texts=log_texts, notes=notes,
        refusals=claude_settings.count_refusals(stream.refused_calls(), claude_process.list_allowed_rules(job)),
    )  # fmt: skip


def _set_up_worktree(job: Job, stopped: threading.Event) -> None:
    """Run the setup command once in the worktree. Tracked files that it changes are put back, unless there was work."""
    setup = verify_command.get_setup(job.policy, (job.repository, job.worktree), job.slot, stopped)
    if setup is None or tree_setup.has_run(job.worktree, setup.command):
        return
    has_work = any(git_client.list_changes(job.worktree))
    tree_setup.run(job.worktree, "HEAD", setup)
    if not has_work and git_client.list_changes(job.worktree)[0]:
        git_client.run_git(job.worktree, "reset", "--quiet", "--hard", timeout_s=worktrees.CHECKOUT_S)


def _result_of_error(message: str, output: str = "") -> Dict[str, Any]:
    """Return the result of an attempt that failed because of the machine or repository: `interrupted` for an error that
    passes (a lock of another process, a killed git, no network), else a user is needed. `output` is that of the program
    that failed.
    """
    failure_class = failure_classification.classify_report(output or message)
    kind = kind_of_failure(failure_class)
    if kind == FAILED and KILLED_GIT.search(message):
        kind, failure_class = INTERRUPTED, "crash"
    elif kind == FAILED:
        kind, failure_class = NEEDS_USER, "setup"
    return {"kind": kind, "message": message, "failure_class": failure_class}


# -- the batch of one feature -------------------------------------------------------------------------------------


def _open_batch(store: Store, job: Job) -> State:
    """Create the worktree's batch and start its feature, or return the batch that has ended already."""
    root, now = store.project.root, timestamps.now()
    git_client.exclude_state_file(root)
    state = store.read_if_usable()
    if state is None or state["batch_id"] != _attempt_batch_id(job):  # none, or one that was committed
        state = _new_attempt_state(root, job, now, _apply_earlier_work(job))
        written_files.begin(store.project.private)
        store.create(state, replace=True)
    base = git_client.get_merge_base(root, "HEAD", job.base) or job.base
    branch = git_client.get_branch(root)
    owner = None
    if job.command is None:
        owner = {**process_identity.new_owner(job.session_id, None, now), "driven": True}

    def start_feature(current: State) -> State:
        if not batch_state.is_live(current):
            return current
        if current.get("attempt_of"):  # an interrupted attempt may go on in another slot
            slot = {"slot": job.slot, "verify_worktree": jobs.get_verify_worktree(job)}
            current = {**current, "attempt_of": {**current["attempt_of"], **slot}}
        current = transitions.unpause(current)
        current = lease.acquire(current, owner) if owner else {**current, "owner": None}
        return transitions.start(current, now, base, branch)

    return store.update(start_feature)


def _apply_earlier_work(job: Job) -> List[Dict[str, Any]]:
    """Apply the work of the last attempt to the worktree if it was sent back. Return the attempts for the brief."""
    if not job.earlier or not job.earlier[-1].get("work"):
        return list(job.earlier)
    *others, last = job.earlier
    conflicts = merging.apply_work(job.worktree, job.base, last["work"])
    return [*others, {**last, "work": None} if conflicts is None else {**last, "conflicts": conflicts}]


def _attempt_batch_id(job: Job) -> str:
    return f"{job.batch_id[:80]}.{job.feature_index + 1}.{job.attempt}"


def _new_attempt_state(root: str, job: Job, now: str, earlier: List[Dict[str, Any]]) -> State:
    details = {name: value for name, value in job.details.items() if name not in ("policy", "depends_on")}
    state = batch_state.new_state(
        _attempt_batch_id(job),
        [job.text],
        now,
        policy={**batch_policy.DEFAULT, **job.policy},
        workflow_mode="direct",
        untracked=untracked_files.list_untracked(root),
        details={"0": {**details, "builds_on": job.needs}},
    )
    return {
        **state,
        "attempt_of": {
            "batch_id": job.batch_id,
            "feature_number": job.feature_index + 1,
            "total_features": job.total_features,
            "slot": job.slot,
            "verify_worktree": jobs.get_verify_worktree(job),
        },
        "attempts": {"0": earlier},
        "retry_attempts": {"0": job.attempt - 1},
        "decisions": job.decisions,
    }


# -- the work -----------------------------------------------------------------------------------------------------


def _run_worker(
    store: Store, state: State, job: Job, stream: ClientStream, log_folder: str, stopped: threading.Event
) -> subprocesses.Result:
    """Run the client, or the user's command and then `batchctl done`."""
    project, is_command = store.project, job.command is not None
    line = ["/bin/sh", "-c", job.command or ""]
    if not is_command:
        line = claude_process.command_line(job, project_paths.plugin_root())
    ended = claude_process.run_client(
        line,
        stream,
        folder=project.root,
        logs=log_folder,
        brief=feature_commands.build_worker_brief(project, state),
        environ={
            **claude_process.client_environment(os.environ, project.root),
            verify_command.SLOT_VARIABLE: str(job.slot),
        },
        time_s=job.limits.get("time_s"),
        stopped=stopped,
        on_progress=functools.partial(logs.write_progress, project, job.session_id),
        # Claude Code reports its cost after SIGINT, and only then.
        stop_signal=signal.SIGTERM if is_command else signal.SIGINT,
    )
    if is_command and ended.returncode == 0:
        refusal = _run_batchctl_done(project, stopped)
        if refusal and not stopped.is_set():
            _fail_attempt(store, refusal, "feature")
    return ended


def _run_batchctl_done(project: Project, stopped: threading.Event) -> str:
    """Run `batchctl done` until it has decided. Return "" if it accepted or `stopped` was set, else its message.

    One that was killed, or could not use the state, has decided nothing: it runs again, at most MAX_RUNS times.
    """
    undecided = 0
    line = [sys.executable, "-I", os.path.join(project_paths.plugin_root(), "lib", "batchctl.py"), "done"]
    environ = claude_process.client_environment(os.environ, project.root)
    environ = {name: value for name, value in environ.items() if not name.startswith("CLAUDE")}
    while not stopped.is_set():
        result = subprocesses.run(line, cwd=project.root, env=environ, timeout_s=math.inf, stop=stopped)
        if result.returncode == 0:
            return ""
        if result.returncode not in (None, EXIT_STILL_RUNNING):
            if result.returncode not in (RefusedError.exit_code, UsageError.exit_code):
                undecided += 1
                if undecided < subprocesses.MAX_RUNS:
                    stopped.wait(subprocesses.STOP_DELAY_S)
                    continue
            message = result.stderr.decode("utf-8", "replace").partition(f"\n{HELP_PREFIX}")[0]  # help is for users
            return message.replace("batchctl: ", "", 1).replace("error: ", "", 1).strip() or (
                f"`batchctl done` ended with exit status {result.returncode} and no message, {undecided} times."
            )
    process_identity.end_marked(project.root)
    return ""


def _fail_attempt(store: Store, message: str, failure_class: str, *, permanent: bool = False) -> State:
    """Record the failure in the worktree's batch and return its state; keep what is uncommitted."""
    message = message[: feature_commands.MAX_TEXT_CHARS]

    def fail(current: State, snapshot: Optional[str]) -> State:
        if not current["active"]:
            return current
        return transitions.fail(
            current, timestamps.now(), message, failure_class, permanent=permanent, snapshot=snapshot
        )

    return attempt_leftovers.close_attempt(store, store.require(), fail)[0]


# -- the result ---------------------------------------------------------------------------------------------------


def _decide_result(
    store: Store, job: Job, ended: subprocesses.Result, stream: ClientStream, log_folder: str, stopped: threading.Event
) -> Dict[str, Any]:
    """Return the result by the worktree's batch and by how the client ended."""
    state = store.reconcile()
    if state is None:
        message = f"The state of the attempt is missing from {job.worktree}: its client may have removed it."
        return {"kind": FAILED, "message": message, "failure_class": "feature"}
    if state["active"]:
        if subprocesses.was_killed(ended.returncode):
            stopped.wait(subprocesses.STOP_DELAY_S)  # what kills all processes may reach the client first
        kind, message, failure_class = _classify_end(job, ended, stream, log_folder)
        if stopped.is_set() and not ended.timed_out:
            kind, message, failure_class = INTERRUPTED, "The run was stopped.", "stopped"
        if kind != FAILED:
            retry_after = failure_classification.reset_time(message, timestamps.now())
            return {"kind": kind, "message": message, "failure_class": failure_class, "retry_after": retry_after}
        state = _fail_attempt(store, message, failure_class, permanent=failure_class == "refusal")
    return _result_of_state(state, job)


def _classify_end(job: Job, ended: subprocesses.Result, stream: ClientStream, log_folder: str) -> Tuple[str, str, str]:
    """Return kind, message and failure class of an attempt whose client ended and left the feature running."""
    if ended.timed_out:
        return FAILED, f"Not done within {job.limits['time_s']} s; the worker was ended.", "time"
    if ended.returncode is None:
        return INTERRUPTED, "The run was stopped.", "stopped"
    if job.command is not None:
        return _classify_command_end(ended.returncode, log_folder)
    result = stream.result
    if result.get("subtype") == "error_max_turns":
        return FAILED, f"Not done within {pluralize(job.limits['turns'], 'turn')}.", "turns"
    if result.get("subtype") == "error_max_budget_usd":
        return _classify_budget_end(job.limits, stream.spent()["cost_usd"])
    if result and not result.get("is_error") and ended.returncode == 0:
        last_words = stream.last_words()[:1500] or "(nothing)"
        message = f"The client exited without `batchctl done` or `batchctl fail`. Its last words: {last_words}"
        return FAILED, message, "no_verdict"
    message = stream.last_words() if result else logs.read_end(log_folder, ["stderr"])
    failure_class = failure_classification.classify(message) if message else "feature"
    if failure_class == "feature" and result:
        status = result.get("api_error_status")
        if type(status) is int and 400 <= status < 600:
            failure_class = failure_classification.classify_http_status(status)
    kind = kind_of_failure(failure_class)
    if kind == FAILED and failure_class in failure_classification.UNCOUNTED:
        kind = INTERRUPTED
    if kind != FAILED:
        return kind, message, failure_class
    exit_message = f"The client {subprocesses.describe_end(ended.returncode)}."
    if failure_class == "feature" and (ended.returncode < 0 or subprocesses.was_killed(ended.returncode) or not result):
        return INTERRUPTED, f"{exit_message} {message}".strip(), "crash"
    return FAILED, message or exit_message, failure_class


def _classify_budget_end(limits: Dict[str, Any], cost_usd: float) -> Tuple[str, str, str]:
    """Classify a client that ended at its cost limit: that of the attempt, or its share of the rest of the run's limit.

    At its share the run counts the cost and pauses or continues; a client that reports no cost needs a user.
    """
    own_limit, share = limits.get("cost_usd"), limits.get("left_usd")
    if share is None or (own_limit is not None and own_limit <= share):
        return FAILED, f"Not done within ${own_limit:.2f}.", "cost"
    kind = INTERRUPTED if cost_usd >= share else NEEDS_USER
    return kind, f"The client used up its share of the run's cost limit, ${share:.2f}.", "budget"


def _classify_command_end(exit_code: int, log_folder: str) -> Tuple[str, str, str]:
    """Classify the end of a user's command by its exit status and the end of its output."""
    output = logs.read_end(log_folder)
    failure_class = failure_classification.classify_report(output)
    message = f"The worker command {subprocesses.describe_end(exit_code)}. End of its output:\n{output[-1500:]}"
    kind = kind_of_failure(failure_class)
    if kind == FAILED and (exit_code < 0 or subprocesses.was_killed(exit_code)):
        return INTERRUPTED, message, "crash"
    return kind, message, failure_class


def _result_of_state(state: State, job: Job) -> Dict[str, Any]:
    """Return the result of a worktree's batch that has ended."""
    decisions = [
        {**entry, "feature_index": job.feature_index}
        for entry in state.get("decisions", ())
        if entry not in job.decisions  # the batch has those
    ]
    if state["completed_features"]:
        evidence = state["evidence"]["0"]
        return {"kind": COMPLETED, "commit": evidence.get("commit"), "evidence": evidence, "decisions": decisions}
    if state["failed_features"]:
        last = state["attempts"]["0"][-1]
        treatment = TREATMENT.get(last["failure_class"], "retry")
        return {
            "kind": NEEDS_USER if treatment == "pause" else FAILED,
            "message": last["error_message"],
            "failure_class": last["failure_class"],
            "permanent": treatment == "fail" or last.get("permanent", False),
            "snapshot": last.get("snapshot"),
            "retry_after": last.get("retry_after"),
            "changed": _has_changes(state, job),
            "decisions": decisions,
        }
    message = f"The feature was skipped in its worktree, {job.worktree}."
    return {"kind": FAILED, "message": message, "failure_class": "feature"}


def _has_changes(state: State, job: Job) -> bool:
    """Return whether a failed attempt has left commits or uncommitted files, other than ignored ones."""
    if git_client.list_commits_since(job.worktree, job.base):
        return True
    return bool(git_client.list_uncommitted_paths(job.worktree, state["untracked_at_start"]))
