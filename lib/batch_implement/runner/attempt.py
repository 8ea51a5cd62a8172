"""One attempt at one feature, in a process of its own: work tree, batch of one, client, judgement.

    python -I -c ENTRY LIB      the job comes as a line of JSON on standard input, the outcome goes to standard output

The process lives as long as its standard input is open: when that closes (the driver has died) or SIGTERM comes, it
ends its client and everything that has started, and says `interrupted`. The batch of one keeps all of it: an attempt
that is begun again in the same work tree goes on from there, and one that was done already is only reported.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from typing import Any, Dict, Tuple

from ..base import processes, project_paths, timestamps
from ..base.project_paths import Project
from ..commands import feature_commands
from ..core import batch_state, failure_classification, lease, policies, transitions
from ..core.errors import EXIT_STILL_RUNNING, HELP_PREFIX, BatchError
from ..core.prompts import pluralize
from ..git import git_client, worktrees
from ..store.store import Store
from . import claude_process, logs
from .claude_process import ClientExit
from .dask import repository_cache
from .job import COMPLETED, FAILED, INTERRUPTED, NEEDS_USER, Job, Outcome, zero_usage

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ..core.batch_state import State


def main() -> int:
    """Read the job, do it, print the outcome; the exit status."""
    signal.signal(signal.SIGINT, lambda *_: None)  # what is ignored would be ignored by all that we start, too
    stopped = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: stopped.set())
    line = sys.stdin.buffer.readline()
    job = Job.of(json.loads(line))
    tree = repository_cache.get_worktree(job)
    os.environ[processes.WORKTREE_VARIABLE] = tree  # a git of ours that outlives us is found as well
    threading.Thread(target=_stop_when_stdin_closes, args=(stopped,), daemon=True).start()
    outcome = run_attempt(job, stopped)
    try:
        sys.stdout.write(json.dumps(outcome._asdict()) + "\n")
        sys.stdout.flush()
    except BrokenPipeError:
        return 1
    logs.mark_reported(Project(tree))
    return 0


def _stop_when_stdin_closes(stopped: threading.Event) -> None:
    """Wait for the end of standard input: whoever gave the job is gone. Its file object is not used: at its own end
    Python takes that away from a thread that reads, and aborts.
    """
    while os.read(0, 4096):
        pass
    stopped.set()


def run_attempt(job: Job, stopped: threading.Event) -> Outcome:
    """Do the job and say how it ended. What goes wrong on the way is told in the outcome; only bugs are raised."""
    began, started_at = time.monotonic(), timestamps.now()
    verdict: Dict[str, Any]
    spent, own = zero_usage(), ""
    asked, here = job, None
    try:
        if job.remote:
            here = repository_cache.prepare(job)
            job = here.job
        worktrees.end_processes(job.worktree)
        worktrees.add(job.repository, job.worktree, job.branch, job.base)
        project = Project(job.worktree)
        spent.update(logs.unreported_usage(project))
        own = os.path.join(logs.logs_folder(project), job.session_id)
        state = _open_batch(project, job)
        if state["active"] and here and here.pushed and _run_batchctl_done(project, stopped) == "":
            state = Store(project).require()
        if state["active"]:
            ended = _run_worker(project, state, job, own, stopped)
            for name, number in ended.stream.spent().items():
                spent[name] += number
            verdict = _decide_result(project, job, ended, own)
        else:
            verdict = _result_of_state(Store(project).require(), job)
    except repository_cache.Unreachable as error:
        verdict = repository_cache.get_unreachable_verdict(error)
    except BatchError as error:
        verdict = _result_of_error(error.message)
    except OSError as error:
        verdict = _result_of_error(f"{error.filename or 'The system'}: {error.strerror}")
    spent["seconds"] = round(time.monotonic() - began, 3)
    sent: Dict[str, str] = {}
    if here and own:
        sent = repository_cache.read_logs(own, verdict)
    elif job.logs and own:
        proof = verdict.get("evidence") or {}
        verify = proof.get("verify")
        moved = logs.copy_logs(own, job.logs, verify.get("log") if verify else None)
        if verify:
            verdict["evidence"] = {**proof, "verify": {**verify, "log": moved}}
    output = logs.read_end(own)
    if here:
        verdict = repository_cache.finish(here, asked, verdict)
    return Outcome(
        batch_id=job.batch_id,
        feature_index=job.feature_index,
        attempt=job.attempt,
        session_id=job.session_id,
        **verdict,
        spent=spent,
        place=processes.get_host_name(),
        started_at=started_at,
        ended_at=timestamps.now(),
        log=job.logs or own,
        output=output,
        log_texts=sent,
    )


def _result_of_error(words: str) -> Dict[str, Any]:
    """The outcome of an attempt that the machine or the repository has stopped: what passes (a lock that somebody else
    holds) interrupts it, anything else needs a person.
    """
    failure_class = failure_classification.classify_report(words)
    if failure_classification.TREATMENT[failure_class] == "wait":
        return {"kind": INTERRUPTED, "message": words, "failure_class": failure_class}
    known = failure_class if failure_classification.TREATMENT[failure_class] == "pause" else "setup"
    return {"kind": NEEDS_USER, "message": words, "failure_class": known}


# -- the batch of one ---------------------------------------------------------------------------------------------


def _open_batch(project: Project, job: Job) -> State:
    """The batch of one with its feature open and its client to come named; as it ended when it did already."""
    git_client.exclude_state_file(project.root)
    store, now = Store(project), timestamps.now()
    known = store.read_if_usable()
    if known is None or known["batch_id"] != _attempt_batch_id(job):  # none, or one that somebody has committed
        store.create(_new_attempt_state(project, job, now), replace=True)
    base = git_client.run_git(project.root, "merge-base", "HEAD", job.base, check=False).stdout.strip() or job.base
    branch = git_client.get_branch(project.root)
    owner = None
    if job.command is None:
        owner = {**processes.new_owner(job.session_id, None, now), "driven": True}

    def begin(state: State) -> State:
        if not batch_state.is_live(state):
            return state
        running = transitions.unpause(state)
        named = lease.acquire(running, owner) if owner else {**running, "owner": None}
        return transitions.start(named, now, base, branch)

    return store.update(begin)


def _attempt_batch_id(job: Job) -> str:
    return f"{job.batch_id[:80]}.{job.feature_index + 1}.{job.attempt}"


def _new_attempt_state(project: Project, job: Job, now: str) -> State:
    details = {name: value for name, value in job.details.items() if name not in ("policy", "depends_on")}
    state = batch_state.new_state(
        _attempt_batch_id(job),
        [job.text],
        now,
        policy={**policies.DEFAULT, **job.policy},
        workflow_mode="direct",
        untracked=git_client.list_changes(project.root)[1],
        details={"0": {**details, "builds_on": job.needs}},
    )
    return {**state, "attempts": {"0": list(job.earlier)}, "retry_attempts": {"0": job.attempt - 1}}


# -- the work -----------------------------------------------------------------------------------------------------


def _run_worker(project: Project, state: State, job: Job, folder: str, stopped: threading.Event) -> ClientExit:
    line = (
        claude_process.command_line(job, project_paths.plugin_root())
        if job.command is None
        else ["/bin/sh", "-c", job.command]
    )
    progress = logs.Progress(project, job.session_id)
    ended = claude_process.run_client(
        line,
        folder=project.root,
        logs=folder,
        brief=feature_commands.build_worker_brief(project, state),
        environ=claude_process.client_environment(os.environ, project.root),
        time_s=job.limits.get("time_s"),
        stopped=stopped,
        watched=progress.note,
        asked=signal.SIGINT if job.command is None else None,
    )
    progress.note(ended.stream, last=True)
    if job.command is not None and ended.exit_code == 0 and not ended.overdue and not ended.stopped:
        refused = _run_batchctl_done(project, stopped)
        if refused and not stopped.is_set():
            _fail_attempt(project, refused, "feature")
    return ended


def _run_batchctl_done(project: Project, stopped: threading.Event) -> str:
    """Ask `batchctl done` until it has an answer: empty when it granted it or was not to be waited for, else why
    not.
    """
    line = [sys.executable, "-I", os.path.join(project_paths.plugin_root(), "lib", "batchctl.py"), "done"]
    environ = claude_process.client_environment(os.environ, project.root)
    environ = {name: value for name, value in environ.items() if not name.startswith("CLAUDE")}
    while not stopped.is_set():
        with subprocess.Popen(
            line, cwd=project.root, env=environ, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE, start_new_session=True, text=True, errors="replace",
        ) as asked:  # fmt: skip
            while asked.poll() is None and not stopped.wait(claude_process.POLL_S):
                pass
            if asked.poll() is None:
                processes.end_marked(project.root)
            said = asked.communicate()[1]
        if asked.returncode != EXIT_STILL_RUNNING:
            break
    else:
        processes.end_marked(project.root)
        return ""
    said = said.partition(f"\n{HELP_PREFIX}")[0]  # the next attempt is told, which is the model
    return said.replace("batchctl: ", "", 1).replace("error: ", "", 1).strip() if asked.returncode != 0 else ""


def _fail_attempt(project: Project, words: str, failure_class: str, *, permanent: bool = False) -> None:
    """End the attempt in the batch of one: what was left uncommitted goes into a stash."""
    store = Store(project)
    stash = feature_commands.stash_leftovers(project, store.require())
    store.update(
        lambda state: (
            transitions.fail(
                state,
                timestamps.now(),
                words[: feature_commands.MAX_TEXT_CHARS],
                failure_class,
                permanent=permanent,
                stash=stash,
            )
            if state["active"]
            else state
        )
    )


# -- how it ended -------------------------------------------------------------------------------------------------


def _decide_result(project: Project, job: Job, ended: ClientExit, folder: str) -> Dict[str, Any]:
    """What the attempt came to, by the batch of one and by how its client ended."""
    state = Store(project, trusted=False).reconcile()
    if state is None:
        return {
            "kind": FAILED,
            "message": f"The state of the attempt is gone from {project.root}: its client may have removed it.",
            "failure_class": "feature",
        }
    if state["active"]:
        kind, words, failure_class = _classify_end(job, ended, folder)
        if kind != FAILED:
            reset = failure_classification.reset_time(words, timestamps.now())
            return {"kind": kind, "message": words, "failure_class": failure_class, "retry_after": reset}
        _fail_attempt(project, words, failure_class, permanent=failure_class == "refusal")
        state = Store(project).require()
    return _result_of_state(state, job)


def _classify_end(job: Job, ended: ClientExit, folder: str) -> Tuple[str, str, str]:
    """Why the feature is still open after its client ended: the outcome's kind, words, class of failure."""
    if ended.stopped:
        return INTERRUPTED, "The run was stopped.", "stopped"
    if ended.overdue:
        return FAILED, f"It was not done within {job.limits['time_s']} s, and was ended.", "time"
    if job.command is not None:
        return _classify_command_end(ended, folder)
    result = ended.stream.result
    if result.get("subtype") == "error_max_turns":
        return FAILED, f"It was not done within {pluralize(job.limits['turns'], 'turn')}.", "turns"
    if result.get("subtype") == "error_max_budget_usd":
        return _classify_budget_end(job.limits, ended.stream.spent()["cost_usd"])
    if result and not result.get("is_error") and ended.exit_code == 0:
        words = ended.stream.last_words() or "(nothing)"
        return (
            FAILED,
            f"The client ended without `batchctl done` or `batchctl fail`. It said: {words[:1500]}",
            "no_verdict",
        )
    words = ended.stream.last_words() if result else logs.read_end(folder, ["stderr"])
    failure_class = failure_classification.classify(words) if words else "feature"
    if failure_class == "feature" and result:
        failure_class = _failure_class_of_status(result.get("api_error_status"))
    treatment = failure_classification.TREATMENT[failure_class]
    if treatment == "pause":
        return NEEDS_USER, words, failure_class
    if treatment == "wait" or failure_class in failure_classification.UNCOUNTED:
        return INTERRUPTED, words, failure_class
    if failure_class == "feature" and (ended.exit_code < 0 or not result):
        return INTERRUPTED, f"The client ended with {ended.exit_code}. {words}".strip(), "crash"
    return FAILED, words or f"The client ended with {ended.exit_code}.", failure_class


def _classify_budget_end(limits: Dict[str, Any], cost_usd: float) -> Tuple[str, str, str]:
    """The same for a client that was ended for its cost: the attempt's limit, or its share of what was left of the
    run's. The run counts what it cost, and pauses or goes on; a client that does not say what it cost needs a person.
    """
    own, left = limits.get("cost_usd"), limits.get("left_usd")
    if left is None or (own is not None and own <= left):
        return FAILED, f"It was not done within ${own:.2f}.", "cost"
    return (
        INTERRUPTED if cost_usd >= left else NEEDS_USER,
        f"Its share of what was left of the run's cost, ${left:.2f}, is used up.",
        "budget",
    )


def _classify_command_end(ended: ClientExit, folder: str) -> Tuple[str, str, str]:
    """The same for a person's command: by its exit status and the end of what it printed."""
    words = logs.read_end(folder)
    failure_class = failure_classification.classify_report(words)
    told = f"The worker command ended with exit status {ended.exit_code}. It said at its end:\n{words[-1500:]}"
    treatment = failure_classification.TREATMENT[failure_class]
    if treatment == "pause":
        return NEEDS_USER, told, failure_class
    if treatment == "wait":
        return INTERRUPTED, told, failure_class
    if ended.exit_code < 0:
        return INTERRUPTED, told, "crash"
    return FAILED, told, failure_class


def _failure_class_of_status(status: Any) -> str:
    """The class of an API error by its HTTP status, when its words tell nothing."""
    known = {429: "limit", 529: "overload", 503: "overload", 502: "overload", 500: "overload", 504: "overload",
             401: "auth", 403: "permission", 400: "refusal", 413: "context"}  # fmt: skip
    return known.get(status if type(status) is int else 0, "feature")


def _result_of_state(state: State, job: Job) -> Dict[str, Any]:
    """The outcome of a batch of one that has ended."""
    decisions = [{**entry, "feature_index": job.feature_index} for entry in state.get("decisions", ())]
    if state["completed_features"]:
        proof = state["evidence"]["0"]
        return {"kind": COMPLETED, "commit": proof.get("commit"), "evidence": proof, "decisions": decisions}
    if state["failed_features"]:
        last = state["attempts"]["0"][-1]
        treatment = failure_classification.TREATMENT.get(last["failure_class"], "retry")
        kind = NEEDS_USER if treatment == "pause" else FAILED
        changed = bool(last.get("stash") or git_client.list_commits_since(job.worktree, job.base))
        return {
            "kind": kind, "message": last["error_message"], "failure_class": last["failure_class"],
            "permanent": treatment == "fail" or last.get("permanent", False), "stash": last.get("stash"),
            "retry_after": last.get("retry_after"), "changed": changed, "decisions": decisions,
        }  # fmt: skip
    return {
        "kind": FAILED,
        "message": f"Something skipped the feature in its own work tree, {job.worktree}.",
        "failure_class": "feature",
    }
