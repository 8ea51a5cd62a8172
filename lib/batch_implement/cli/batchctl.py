"""The command line of batchctl: parse arguments, run the command, print its result.

    main(argv)                           run one command; return the exit status
    run_command(argv, context, cwd)      the same without printing, for `/batchctl` too

Exit status: 0 done, 1 refused, 2 usage error, 3 the state cannot be used, the disk did not
confirm a change or standard output cannot be written, 4 still running: run the command again, 141 when nobody reads
the output any more, as after SIGPIPE. With `--json` standard output is one JSON object;
`{"error": {"message", "exit_code", "topic"}}` for an error. Text is cleaned for a terminal.
"""

from __future__ import annotations

import os
import sys

from ..base import fast_json, process_identity, project_paths
from ..base.text import clean_output, escape_controls
from ..commands import authorization
from ..commands.command import CommandContext, CommandResult
from ..core import batch_state
from ..core.errors import EXIT_STILL_RUNNING, BatchError, RefusedError, StateError, UsageError
from ..store.backups import no_batch_error

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Callable, Dict, List, Optional, Sequence, Tuple

    from ..commands.authorization import Caller

    Handler = Callable[[Any, CommandContext, str], CommandResult]  # takes options, context, working directory

PLUGIN = project_paths.plugin_root()
# They work without a state, and must not repair one.
STATELESS_COMMANDS = ("validate", "convert", "schema", "doctor", "statusline")
EXIT_PIPE = 141  # 128 + SIGPIPE


def console_main() -> int:
    """Run the command in `sys.argv`: the entry point of the wheel. Return the exit status."""
    return main(sys.argv[1:])


def main(argv: Sequence[str]) -> int:
    """Run one command, print its result and return the exit status."""
    try:
        _fill_closed_streams()
        return _print_result(*_run_one(argv))
    except KeyboardInterrupt:
        return 130


def _run_one(argv: Sequence[str]) -> Tuple[int, str, List[str]]:
    """Run one command. Return the exit status, the text for standard output and the lines for standard error."""
    is_json = "--json" in argv
    project = caller = None
    try:
        caller = authorization.caller_from_environment(os.environ)
        cwd = os.getcwd()
        project = project_paths.find_project(os.environ, cwd)
        with CommandContext(project, caller) as context:
            result = run_command(argv, context, cwd)
        output = escape_controls(fast_json.dumps(result.data)) if is_json else result.text
        return int(result.data.get("exit_code", 0)), output, context.notes
    except BatchError as error:
        if project is not None and error.exit_code != EXIT_STILL_RUNNING:
            from shlex import join

            from ..store import audit_log

            audit_log.record_refusal(project, join(["batchctl", *argv]), error)
        return _describe_error(error, is_json, caller)
    except OSError as error:
        return _describe_error(io_error(error), is_json, caller)
    except SystemExit as end:  # argparse has printed --help or --version
        return int(end.code or 0), "", []


def io_error(error: OSError) -> StateError:
    """Return the error for an OSError that nobody caught: it is unknown how much was done before."""
    return StateError(f"I/O error: {error}. Check `batchctl status` before you run the command again.", "disk-trouble")


def _describe_error(error: BatchError, is_json: bool, caller: Optional[Caller]) -> Tuple[int, str, List[str]]:
    """Return an error as `_run_one` does. Only a user gets the line about the help topic."""
    data = {"error": {"message": error.message, "exit_code": error.exit_code, "topic": error.topic}}
    label = "" if error.exit_code == EXIT_STILL_RUNNING else "error: "
    lines = [f"batchctl: {label}{error.message}"]
    if caller is None or caller.is_user:
        lines.append(error.help_line())
    return error.exit_code, escape_controls(fast_json.dumps(data)) if is_json else "", lines


def _print_result(status: int, output: str, messages: List[str]) -> int:
    """Print what `_run_one` returned. Return the exit status, another one when the output of a success is lost."""
    _print_errors(messages)
    try:
        if output:
            _print_line(output, sys.stdout)
        sys.stdout.flush()
    except BrokenPipeError:
        _discard_rest(sys.stdout)
        return EXIT_PIPE
    except OSError as error:
        _discard_rest(sys.stdout)
        advice = "The command itself has ended: `batchctl status` shows the batch."
        _print_errors([f"batchctl: error: standard output cannot be written: {error.strerror}. {advice}"])
        return status or StateError.exit_code
    return status


def _print_errors(lines: List[str]) -> None:
    for line in lines:
        try:
            _print_line(line, sys.stderr)
        except OSError:
            _discard_rest(sys.stderr)  # nowhere is left to report it


def _print_line(text: str, stream: Any) -> None:
    """Print text cleaned, with `?` for what UTF-8 cannot encode (bytes of a file name that are not text)."""
    print(clean_output(text).encode("utf-8", "replace").decode(), file=stream)


def _fill_closed_streams() -> None:
    """Open the null device in place of closed standard streams, or the next file opened would be one of them."""
    if sys.stdin and sys.stdout and sys.stderr:
        return
    while os.open(os.devnull, os.O_RDWR) < 2:  # the lowest number that is free
        pass
    sys.stdout = sys.stdout or os.fdopen(1, "w", encoding="utf-8")
    sys.stderr = sys.stderr or os.fdopen(2, "w", encoding="utf-8")


def _discard_rest(stream: Any) -> None:
    """Direct a stream that cannot be written to the null device: Python flushes it again at the end."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())


def run_command(argv: Sequence[str], context: CommandContext, cwd: str) -> CommandResult:
    """Run the command that `argv` names and return its result."""
    options = _parse(argv)
    if options.command == "help":
        from . import help_topics

        text = help_topics.read_topic(options.topic)
        return CommandResult(text, data={"topic": options.topic, "text": text})
    authorization.refuse_below_verify(options.command, context.project.root, os.environ)
    if options.command not in STATELESS_COMMANDS:
        authorization.require_user(options.command, context.caller, context.read_state_if_usable())
    return COMMANDS[options.command](options, context, cwd)


class _BareCommand:
    """The options of a command that was typed without any, except `--json`."""

    def __init__(self, command: str) -> None:
        self.command = command


def _parse(argv: Sequence[str]) -> Any:
    """Return the options in `argv`, with the `command`. Raises UsageError if they are wrong."""
    if list(argv[:1]) in (["next"], ["status"], ["statusline"]) and argv[1:] in ([], ["--json"]):
        return _BareCommand(argv[0])  # argparse would cost more than the command itself
    from . import arguments

    options = arguments.parse_command(argv)
    if options.command is None:
        raise UsageError(f"A command is required.\n{arguments.build_parser().format_help().rstrip()}", "usage")
    return options


def _batch_commands() -> Any:
    from ..commands import batch_commands

    return batch_commands


def _feature_commands() -> Any:
    from ..commands import feature_commands

    return feature_commands


def _status(options: Any, context: CommandContext, cwd: str) -> CommandResult:
    from ..base import timestamps
    from ..report import status_report

    if getattr(options, "watch", False):
        return _watch(options, context)
    state, now = context.require_state(), timestamps.now()
    lines = status_report.format_status(state, now)
    if context.caller.is_user and state["status"] == "in_progress":
        lines.append(status_report.describe_owner(state, at_work=process_identity.is_owner_alive(state["owner"])))
    return CommandResult("\n".join(lines), data=status_report.status_data(state, now))


def _watch(options: Any, context: CommandContext) -> CommandResult:
    from ..runner.display import watch

    if options.json:
        raise UsageError("--watch and --json exclude each other.", "usage")
    if context.caller.session_id or not context.caller.is_user:
        raise RefusedError(
            "`batchctl status --watch` runs until the batch is over, so it needs a terminal of its own, outside of "
            "Claude Code. Use `batchctl status` here.",
            "own-terminal",
        )
    return CommandResult(watch.follow(context.project, sys.stdout, os.environ))


def _statusline(options: Any, context: CommandContext, cwd: str) -> CommandResult:
    from ..report import statusline

    stdin = _standard_input(context)
    payload = b"" if stdin is None or stdin.isatty() else stdin.read(statusline.MAX_INPUT_BYTES)
    return CommandResult(statusline.statusline_text(payload, os.environ, cwd))


def _next(options: Any, context: CommandContext, cwd: str) -> CommandResult:
    from ..report import status_report

    state = context.require_state()
    message = authorization.describe_next_step(state, context.caller)
    number = status_report.next_number(state)
    feature: Optional[Dict[str, Any]] = None
    if number:
        status = batch_state.feature_status(state, number - 1)
        feature = {"number": number, "text": state["features"][number - 1], "status": status}
    data = {"batch_id": state["batch_id"], "status": state["status"], "feature": feature, "message": message}
    return CommandResult(message, data=data)


def _create(options: Any, context: CommandContext, cwd: str) -> CommandResult:
    from ..commands import batch_commands
    from . import arguments

    policy = arguments.policy_from_options(options, unattended=context.caller.unattended)
    return batch_commands.create(context, options, policy, cwd, _standard_input(context))


def _run(options: Any, context: CommandContext, cwd: str) -> CommandResult:
    from ..runner import run

    text, data = run.run(options, context, cwd=cwd, stdin=_standard_input(context), environ=os.environ, plugin=PLUGIN)
    return CommandResult(text, data=data)


def _add(options: Any, context: CommandContext, cwd: str) -> CommandResult:
    from ..commands import batch_commands
    from ..features import sources

    source = sources.read(options, cwd, context.project.root, _standard_input(context))
    context.notes.extend(source.notes)
    return batch_commands.add(context, source)


def _issues(options: Any, context: CommandContext, cwd: str) -> CommandResult:
    from ..commands import issue_sync

    return issue_sync.publish_all(context)


def _log(options: Any, context: CommandContext, cwd: str) -> CommandResult:
    from ..core import batch_events
    from ..report import log_format
    from ..store import audit_log

    state, folder = context.read_state_if_usable(), context.project.log_folder
    batch_id = state["batch_id"] if state else None
    entries = batch_events.entries_of_batch(audit_log.read_entries(folder), batch_id, options.feature)
    topic = "" if options.feature is None else f" about feature {options.feature}"
    nothing = f"The log in {folder} has no entries{topic}. `batchctl status` shows which batch is here."
    return CommandResult("\n".join(log_format.format_entries(entries)) or nothing, data={"entries": entries})


def _report(options: Any, context: CommandContext, cwd: str) -> CommandResult:
    import dataclasses

    from ..base import timestamps
    from ..commands import completed_features
    from ..report import report_files, run_report

    state, is_archived = report_files.find_batch(context.project, options.batch_id)
    now = state["updated_at"] if is_archived else timestamps.now()
    missing = [] if is_archived else completed_features.find_missing(context.project, state)
    needs = completed_features.list_needs(missing)
    report = run_report.build_report(state, now, archived=is_archived, missing=needs)
    text = report_files.render(report, options.format)
    if options.output is None:
        return CommandResult(text.rstrip("\n"), data=dataclasses.asdict(report))
    path = report_files.save_file(context.project, os.path.join(cwd, options.output), text, replace=True)
    message = f"The report of batch {state['batch_id']} is in {path}."
    return CommandResult(message, data={"path": path, "format": options.format})


def _validate(options: Any, context: CommandContext, cwd: str) -> CommandResult:
    from ..features import sources
    from ..validation import file_validation

    state_file = context.project.state
    if not options.files and not os.path.lexists(state_file):
        raise no_batch_error(context.project)
    files, list_options = options.files or [state_file], sources.list_options(options)
    text, data = file_validation.validate_files(files, options.format, cwd, list_options)
    return CommandResult(text, data=data)


def _convert(options: Any, context: CommandContext, cwd: str) -> CommandResult:
    from ..commands import list_conversion

    return list_conversion.convert(context, options, cwd, _standard_input(context))


def _schema(options: Any, context: CommandContext, cwd: str) -> CommandResult:
    from ..validation import file_validation

    text, data = file_validation.show_schema(options.name)
    return CommandResult(text, data=data)


def _clean(options: Any, context: CommandContext, cwd: str) -> CommandResult:
    from ..commands import cleanup

    return cleanup.clean(context, merged=options.merged, everything=options.all)


def _doctor(options: Any, context: CommandContext, cwd: str) -> CommandResult:
    from ..commands import doctor

    checks = doctor.run_checks(context.project, os.environ, PLUGIN)
    has_error = any(check["verdict"] == doctor.ERROR for check in checks)
    return CommandResult("\n".join(doctor.format_checks(checks)), data={"checks": checks, "exit_code": int(has_error)})


COMMANDS: Dict[str, Handler] = {
    "create": _create,
    "run": _run,
    "add": _add,
    "skip": lambda options, context, cwd: _batch_commands().skip(context, options.number - 1, options.reason),
    "retry": lambda options, context, cwd: _batch_commands().retry(context, [number - 1 for number in options.numbers]),
    "pause": lambda options, context, cwd: _batch_commands().pause(context, options.reason),
    "resume": lambda options, context, cwd: _batch_commands().resume(context, options.batch_id),
    "abort": lambda options, context, cwd: _batch_commands().abort(context),
    "issues": _issues,
    "clean": _clean,
    "status": _status,
    "statusline": _statusline,
    "next": _next,
    "brief": lambda options, context, cwd: _feature_commands().brief(context),
    "log": _log,
    "report": _report,
    "validate": _validate,
    "convert": _convert,
    "schema": _schema,
    "doctor": _doctor,
    "start": lambda options, context, cwd: _feature_commands().start(context),
    "phase": lambda options, context, cwd: _feature_commands().phase(context, options.name),
    "done": lambda options, context, cwd: _feature_commands().done(
        context, no_change=options.no_change, without=options.without or (), wait_s=options.wait
    ),
    "fail": lambda options, context, cwd: _feature_commands().fail(
        context, options.reason, permanent=options.permanent
    ),
    "decide": lambda options, context, cwd: _feature_commands().decide(context, options.question, options.answer),
}


def _standard_input(context: CommandContext) -> Any:
    """Return standard input; None when there is none, and for a slash command, where it is the event of the hook."""
    is_slash_command = context.caller.is_user and context.caller.session_id
    return None if sys.stdin is None or is_slash_command else sys.stdin.buffer
