"""Run a slash command of the plugin before any model turn, by the same code as in a terminal.

An error or an answer blocks the prompt with its text, which costs no model turn. A command that starts work adds the
coordinator's brief to the prompt. Arguments are split with shlex: no shell sees them.
"""

from __future__ import annotations

import contextlib
import io
import os
import shlex

from ..base.text import clean, clean_output
from ..cli import arguments, batchctl
from ..commands import authorization, batch_commands
from ..commands.command import CommandContext
from ..core import batch_state, prompts
from ..core.errors import BatchError, RefusedError, UsageError
from ..features import feature_list, sources
from ..store import audit_log

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Dict, List, Optional

    from ..core.batch_state import State
    from .dispatch import HookEvent

PLUGIN_PREFIX = "batch-implement:"
MAX_ARGUMENT_CHARS = 16_384  # the time of shlex grows with the square
RESUMING_COMMANDS = ("resume", "retry", "add")


def handle_prompt_expansion(event: HookEvent) -> Optional[Dict[str, Any]]:
    """Return the answer to a UserPromptExpansion event, None for commands of others and to let the prompt pass."""
    name = event.get_text("command_name")
    if not name.startswith(PLUGIN_PREFIX):
        return None
    commands = {
        "batch-implement": _run_batch_implement,
        "auto-implement": _run_auto_implement,
        "batchctl": _run_batchctl,
    }
    command = commands.get(name[len(PLUGIN_PREFIX) :])
    if command is None:
        return None
    typed = event.get_text("command_args")
    caller = authorization.caller_from_hook(event.session_id, os.environ, event.get_text("prompt_id") or None)
    try:
        if not caller.session_id:
            raise RefusedError(
                "The batch cannot get an owner: Claude Code did not send a session id. Update Claude Code.",
                "installation",
            )
        with CommandContext(event.project, caller) as context:
            return command(context, typed, event.cwd)
    except BatchError as error:
        audit_log.record_refusal(event.project, f"/{name[len(PLUGIN_PREFIX) :]} {typed}".strip(), error)
        return _block_with_error(error)
    except OSError as error:
        return _block_with_error(batchctl.io_error(error))


def _block_with_error(error: BatchError) -> Dict[str, Any]:
    return _block_prompt(f"{error.message}\n{error.help_line('/batchctl')}")


def _block_prompt(*lines: str) -> Dict[str, Any]:
    return {"decision": "block", "reason": clean_output("\n".join(lines))}


def _add_brief(state: State, notes: List[str], *lines: str) -> Dict[str, Any]:
    """Return the answer that adds notes, lines and the coordinator's brief to the prompt. The user's screen shows the
    notes too: the model need not repeat them.
    """
    return {
        "systemMessage": "\n".join([*notes, prompts.start_notice(state)]),
        "hookSpecificOutput": {
            "hookEventName": "UserPromptExpansion",
            "additionalContext": "\n".join([*notes, *lines, prompts.coordinator_brief(state)]),
        },
    }


def _show_notes(notes: List[str]) -> Optional[Dict[str, Any]]:
    """Return the answer that lets the prompt pass and shows the notes on the user's screen, None without notes."""
    return {"systemMessage": "\n".join(notes)} if notes else None


def _split_arguments(text: str) -> List[str]:
    if len(text) > MAX_ARGUMENT_CHARS:
        raise UsageError(
            f"The arguments have {len(text):,} characters; the limit is {MAX_ARGUMENT_CHARS:,}. Put a long text into a "
            "file and name the file.",
            "usage",
        )
    try:
        return shlex.split(text)
    except ValueError as error:
        raise UsageError(
            f"Cannot parse the arguments: {error}. Quote a name or command that has quotes or blanks.", "usage"
        ) from error


def _run_batch_implement(context: CommandContext, typed: str, cwd: str) -> Dict[str, Any]:
    parser = arguments.build_slash_parser()
    words = _split_arguments(typed)
    if "-h" in words or "--help" in words:
        return _block_prompt(parser.format_help().rstrip())
    if not words:
        raise UsageError(f"{sources.MISSING_FILE}\n`/batch-implement --help` lists the options.", "usage")
    options = parser.parse_args(words)
    unattended = context.caller.unattended
    if options.resume is not None:
        if options.file is not None:
            raise UsageError(
                f"--resume continues the batch that is here, and {options.file!r} would start another. Use one of "
                "them.",
                "usage",
            )
        result = batch_commands.resume(context, options.resume or None, unattended=unattended or options.unattended)
    else:
        policy = arguments.policy_from_options(options, unattended=unattended)
        result = batch_commands.create(context, options, policy, cwd)
    if result.state is None:
        return _block_prompt(*context.notes, result.message)
    answer = _add_brief(result.state, context.notes)
    left_out = result.data.get("left_out")
    if left_out:  # for the user: the model has no use for the texts of features that are not in the batch
        answer["systemMessage"] = f"{left_out}\n{answer['systemMessage']}"
    return answer


def _run_auto_implement(context: CommandContext, typed: str, cwd: str) -> Optional[Dict[str, Any]]:
    """Make a batch of one feature, unless there is a batch: then only its active feature may be named."""
    text = clean(typed).strip()
    state = context.read_state()
    if state is not None and batch_state.is_live(state):
        authorization.require_owner(state, context.caller, context.project)
        active = state["active"]
        if text and not (active and text == state["features"][active["feature_index"]]):
            raise RefusedError(
                f"Batch {state['batch_id']} is under way ({prompts.progress_summary(state)}), and this is not its open "
                "feature. Add it to the batch (`batchctl add FILE`), or wait for the end; `/batch-implement --resume` "
                "continues the batch.",
                "batch-unfinished",
            )
        return _show_notes(context.notes)
    if not text:
        raise UsageError(
            "Say what to implement: `/auto-implement TEXT`. For a list of features: `/batch-implement FILE`.", "usage"
        )
    if len(text) > feature_list.MAX_FEATURE_CHARS:
        raise UsageError(
            f"The text has {len(text)} characters; a feature has at most {feature_list.MAX_FEATURE_CHARS}. Put the "
            "details into a file and name it.",
            "features-line",
        )
    source = sources.FeatureSource(feature_list.Listing([feature_list.Feature(text, 0)], {}), "-", [])
    batch_commands.create_batch(context, source, {"unattended": context.caller.unattended})
    return _show_notes(context.notes)


def _run_batchctl(context: CommandContext, typed: str, cwd: str) -> Dict[str, Any]:
    words = _split_arguments(typed) or ["status"]
    output = io.StringIO()
    try:
        with contextlib.redirect_stdout(output):
            result = batchctl.run_command(words, context, cwd)
    except SystemExit:  # argparse has printed --help or --version
        return _block_prompt(output.getvalue().rstrip())
    state = result.state
    if words[0] not in RESUMING_COMMANDS or state is None or not batch_state.is_live(state):
        return _block_prompt(*context.notes, result.text)
    if words[0] != "resume":
        state = batch_commands.resume(context).state or state
    return _add_brief(state, context.notes, result.message)
