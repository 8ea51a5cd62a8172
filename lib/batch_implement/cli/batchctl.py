"""The front of batchctl: reads arguments, calls what they ask for, formats the answer. It decides nothing.

    main(argv)                        the command; the exit status (`command()`: with this process's arguments)
    answer(argv, project, caller, cwd) the same for `/batchctl VERB`, as text

Exit status: 0 done, 1 refused (standard error says what to do), 2 used wrongly, 3 the state cannot be used, 4 still
working: call again. With --json standard output is one JSON object, `{"error": {"message", "exit_code", "topic"}}`
when something was refused.
"""

from __future__ import annotations

import os
import sys

from ..base import fast_json, processes, project_paths
from ..commands import authorization
from ..core import batch_state, prompts
from ..core.errors import EXIT_STILL_RUNNING, BatchError, RefusedError, StateError, UsageError
from ..store.backups import no_batch_error
from ..store.store import Store

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Dict, List, Optional, Sequence, Tuple

    from ..base.project_paths import Project
    from ..commands.authorization import Caller

PLUGIN = project_paths.plugin_root()


def console_main() -> int:
    """`batchctl` where it was installed with pip: this process's arguments; the exit status."""
    return main(sys.argv[1:])


def main(argv: Sequence[str]) -> int:
    """Run one command and print its answer; the exit status."""
    wants_json = "--json" in argv
    project = caller = None
    try:
        caller = authorization.caller_from_environment(os.environ)
        cwd = os.getcwd()
        project = project_paths.find_project(os.environ, cwd)
        text, data, notes = run_command(argv, project, caller, cwd)
        for note in notes:
            _print_line(note, sys.stderr)
        if wants_json or text:
            _print_line(fast_json.dumps(data) if wants_json else text, sys.stdout)
        sys.stdout.flush()
        return int(data.get("exit_code", 0))
    except BatchError as error:
        if project is not None and error.exit_code != EXIT_STILL_RUNNING:
            from shlex import join

            from ..store import audit_log

            audit_log.record_refusal(project, join(["batchctl", *argv]), error)
        return _print_error(error, wants_json, caller)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except OSError as error:
        return _print_error(io_error(error), wants_json, caller)
    except KeyboardInterrupt:
        return 130


def io_error(error: OSError) -> StateError:
    """The error for what the system would not do, at a place where nobody knows how much was done before."""
    return StateError(f"The system said no: {error}. Look at `batchctl status` before you repeat it.", "disk-trouble")


def _print_error(error: BatchError, wants_json: bool, caller: Optional[Caller]) -> int:
    """Tell what went wrong, and a person where there is more about it; the exit status. The model gets the message
    alone: it is complete in itself, and every token is paid for.
    """
    if wants_json:
        data = {"error": {"message": error.message, "exit_code": error.exit_code, "topic": error.topic}}
        _print_line(fast_json.dumps(data), sys.stdout)
    _print_line(f"batchctl: {error.message}", sys.stderr)
    if caller is None or caller.is_user:
        _print_line(error.help_line(), sys.stderr)
    return error.exit_code


def _print_line(text: str, stream: Any) -> None:
    """Print a line; what UTF-8 has no place for (bytes of a name that are no text) as `?`."""
    print(text.encode("utf-8", "replace").decode(), file=stream)


def run_for_text(argv: Sequence[str], project: Project, caller: Caller, cwd: str) -> str:
    """What a verb answers, as text; errors are raised."""
    text, _, notes = run_command(argv, project, caller, cwd)
    return "\n".join([*notes, text])


def run_command(
    argv: Sequence[str], project: Project, caller: Caller, cwd: str
) -> Tuple[str, Dict[str, Any], List[str]]:
    """Do what `argv` asks for. The answer as text, the same as data, and what else should be told."""
    options = _parse(argv)
    if options.verb == "help":
        from . import help_topics

        text = help_topics.read_topic(options.topic)
        return text, {"topic": options.topic, "text": text}, []
    store = Store(project, trusted=caller.is_user)
    if options.verb not in ("validate", "schema", "doctor", "statusline"):
        state = store.read_if_usable()  # what has to be mended is mended here, and told
        authorization.require_user(options.verb, caller, state)
    try:
        answered = COMMANDS[options.verb](options, project, caller, cwd, store)
    except BatchError as error:
        error.message = "\n".join([*store.notes, error.message])
        raise
    text, data = answered if isinstance(answered, tuple) else (answered, {"message": answered})
    return text, data, store.notes


class _BareCommand:
    """The options of a verb that was given without any but --json."""

    def __init__(self, verb: str) -> None:
        self.verb = verb


def _parse(argv: Sequence[str]) -> Any:
    """What `argv` asks for: `verb` and its options. Misuse when it is wrong."""
    if list(argv[:1]) in (["next"], ["status"], ["statusline"]) and argv[1:] in ([], ["--json"]):
        return _BareCommand(argv[0])  # asked most often, and by far: argparse costs more than the answer
    from . import arguments

    options = arguments.parse_command(argv)
    if options.verb is None:
        raise UsageError(f"A verb is missing.\n{arguments.build_parser().format_help().rstrip()}", "usage")
    return options


def _start(options: Any, project: Project, caller: Caller, cwd: str, store: Store) -> Any:
    from ..commands import feature_commands

    return feature_commands.start(project, caller)


def _phase(options: Any, project: Project, caller: Caller, cwd: str, store: Store) -> Any:
    from ..commands import feature_commands

    return feature_commands.phase(project, caller, options.name)


def _done(options: Any, project: Project, caller: Caller, cwd: str, store: Store) -> Any:
    from ..commands import feature_commands

    return feature_commands.done(project, caller, no_change=options.no_change, wait_s=options.wait)


def _fail(options: Any, project: Project, caller: Caller, cwd: str, store: Store) -> Any:
    from ..commands import feature_commands

    return feature_commands.fail(project, caller, options.reason, permanent=options.permanent)


def _decide(options: Any, project: Project, caller: Caller, cwd: str, store: Store) -> Any:
    from ..commands import feature_commands

    return feature_commands.decide(project, caller, options.question, options.answer)


def _brief(options: Any, project: Project, caller: Caller, cwd: str, store: Store) -> Any:
    from ..commands import feature_commands

    return feature_commands.brief(project, caller)


def _status(options: Any, project: Project, caller: Caller, cwd: str, store: Store) -> Any:
    from ..report import status_report

    if getattr(options, "watch", False):
        return _watch(options, project, caller)
    state = store.require()
    lines = status_report.format_status(state)
    if caller.is_user and state["status"] == "in_progress":
        lines.append(status_report.describe_owner(state, at_work=processes.is_owner_alive(state["owner"])))
    return "\n".join(lines), status_report.status_data(state)


def _watch(options: Any, project: Project, caller: Caller) -> str:
    from ..runner.display import watch

    if options.json:
        raise UsageError("--watch shows and --json answers: give one of them.", "usage")
    if caller.has_session or not caller.is_user:
        raise RefusedError(
            "`batchctl status --watch` goes on until the batch is over, so it needs a terminal of its own, outside of "
            "Claude Code. `batchctl status` answers here.",
            "own-terminal",
        )
    return watch.follow(project, sys.stdout, os.environ)


def _statusline(options: Any, project: Project, caller: Caller, cwd: str, store: Store) -> Any:
    from ..report import statusline

    given = _standard_input(caller)
    told = b"" if given is None or given.isatty() else given.read(statusline.MAX_INPUT_BYTES)
    return statusline.statusline_text(told, os.environ, cwd)


def _next(options: Any, project: Project, caller: Caller, cwd: str, store: Store) -> Any:
    from ..report import status_report

    state = store.require()
    text = authorization.describe_next_step(state, caller)
    index = status_report.next_index(state)
    feature = (
        None
        if index is None
        else {"index": index, "text": state["features"][index], "status": batch_state.feature_status(state, index)}
    )
    return text, {"batch_id": state["batch_id"], "status": state["status"], "feature": feature, "message": text}


def _create(options: Any, project: Project, caller: Caller, cwd: str, store: Store) -> Any:
    from ..commands import batch_commands
    from ..features import sources
    from ..report import status_report
    from . import arguments

    given = arguments.policy_from_options(options, unattended=caller.unattended)
    found = sources.read(options, cwd, project.root, _standard_input(caller))
    store.notes.extend(found.notes)
    if options.dry_run:
        plan = batch_commands.plan_batch(project, found, given, infer_order=options.infer_order)
        in_the_way = batch_commands.find_create_blockers(project, caller, replace=options.replace)
        store.notes.extend(in_the_way)
        return "\n".join(status_report.format_plan(plan)), {
            **status_report.plan_data(plan),
            "exit_code": int(bool(in_the_way)),
        }
    state = batch_commands.create(
        project, caller, found, given, infer_order=options.infer_order, replace=options.replace
    )
    text = (
        f"Batch {state['batch_id']} has {prompts.pluralize(state['total_features'], 'feature')}. Go on with "
        "`/batch-implement --resume` in Claude Code."
    )
    if not state["policy"]["verify"]:
        text += " It has no verify command: a commit is all that is asked for."
    return text, status_report.status_data(state)


def _run(options: Any, project: Project, caller: Caller, cwd: str, store: Store) -> Any:
    from ..runner import run

    return run.run(
        options,
        project,
        caller,
        cwd=cwd,
        stdin=_standard_input(caller),
        environ=os.environ,
        plugin=PLUGIN,
        notes=store.notes,
    )


def _add(options: Any, project: Project, caller: Caller, cwd: str, store: Store) -> Any:
    from ..commands import batch_commands
    from ..features import sources

    found = sources.read(options, cwd, project.root, _standard_input(caller))
    store.notes.extend(found.notes)
    return batch_commands.add(project, found)


def _skip(options: Any, project: Project, caller: Caller, cwd: str, store: Store) -> Any:
    from ..commands import batch_commands

    return batch_commands.skip(project, options.number - 1, options.reason)


def _retry(options: Any, project: Project, caller: Caller, cwd: str, store: Store) -> Any:
    from ..commands import batch_commands

    return batch_commands.retry(project, [number - 1 for number in options.numbers])


def _pause(options: Any, project: Project, caller: Caller, cwd: str, store: Store) -> Any:
    from ..commands import batch_commands

    return batch_commands.pause(project, options.reason)


def _resume(options: Any, project: Project, caller: Caller, cwd: str, store: Store) -> Any:
    from ..commands import batch_commands
    from ..report import status_report

    state = batch_commands.resume(project, caller, options.batch_id)
    text = f"Batch {state['batch_id']} is in progress. {status_report.describe_resume(state)}"
    return text, status_report.status_data(state)


def _abort(options: Any, project: Project, caller: Caller, cwd: str, store: Store) -> Any:
    from ..commands import batch_commands

    return batch_commands.abort(project)


def _issues(options: Any, project: Project, caller: Caller, cwd: str, store: Store) -> Any:
    from ..commands import issue_sync

    return issue_sync.publish_all(project)


def _log(options: Any, project: Project, caller: Caller, cwd: str, store: Store) -> Any:
    from ..core import batch_events
    from ..store import audit_log

    index = None if options.feature is None else options.feature - 1
    state = store.read_if_usable()
    entries = batch_events.entries_of_batch(
        audit_log.read_entries(project.log_folder), state["batch_id"] if state else None, index
    )
    about = "" if index is None else f" about feature {options.feature}"
    nothing = f"The log in {project.log_folder} says nothing{about}. `batchctl status` says what batch is here."
    return "\n".join(batch_events.format_entries(entries)) or nothing, {"entries": entries}


def _report(options: Any, project: Project, caller: Caller, cwd: str, store: Store) -> Any:
    from ..base import timestamps
    from ..report import report_files, run_report

    state, put_away = report_files.find_batch(project, options.batch_id)
    data = run_report.build_report(state, state["updated_at"] if put_away else timestamps.now(), put_away=put_away)
    text = report_files.render(data, options.format)
    if options.output is None:
        return text.rstrip("\n"), data
    place = report_files.save_report(project, os.path.join(cwd, options.output), text)
    return f"The report of batch {state['batch_id']} is in {place}.", {"path": place, "format": options.format}


def _validate(options: Any, project: Project, caller: Caller, cwd: str, store: Store) -> Any:
    from ..validation import file_validation

    if not options.files and not os.path.lexists(project.state):
        raise no_batch_error(project)
    return file_validation.validate_files(options.files or [project.state], options.format, cwd)


def _schema(options: Any, project: Project, caller: Caller, cwd: str, store: Store) -> Any:
    from ..validation import file_validation

    return file_validation.show_schema(options.name)


def _doctor(options: Any, project: Project, caller: Caller, cwd: str, store: Store) -> Any:
    from ..commands import doctor

    found = doctor.run_checks(project, os.environ, PLUGIN)
    bad = any(entry["verdict"] == doctor.ERROR for entry in found)
    return "\n".join(doctor.format_checks(found)), {"checks": found, "exit_code": int(bad)}


COMMANDS = {
    "start": _start, "phase": _phase, "done": _done, "fail": _fail, "decide": _decide, "status": _status, "next": _next,
    "brief": _brief, "create": _create, "run": _run, "add": _add, "skip": _skip, "retry": _retry, "pause": _pause,
    "resume": _resume, "abort": _abort, "issues": _issues, "log": _log, "report": _report, "validate": _validate,
    "schema": _schema, "doctor": _doctor, "statusline": _statusline,
}  # fmt: skip


def _standard_input(caller: Caller) -> Any:
    """Standard input, None where there is none, and for a slash command: there it brings the hook's event."""
    return None if sys.stdin is None or (caller.is_user and caller.has_session) else sys.stdin.buffer
