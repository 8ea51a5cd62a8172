"""A person types one of our commands: the batch is created, resumed or looked at before any model turn, by the same
code as in a terminal.

The arguments come as text in the event and are taken apart with shlex: no shell ever sees them. Whatever is refused,
and whatever only informs, blocks the prompt with its text, which costs no model turn; what sets work going adds the
coordinator's brief to the prompt.
"""

from __future__ import annotations

import contextlib
import io
import os
import shlex

from ..base.text import clean
from ..cli import arguments, batchctl
from ..commands import authorization, batch_commands
from ..core import batch_state, prompts
from ..core.errors import BatchError, RefusedError, UsageError
from ..features import feature_list, sources
from ..report import status_report
from ..store import audit_log
from ..store.store import Store

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Dict, List, Optional

    from ..commands.authorization import Caller
    from ..core.batch_state import State
    from .dispatch import HookEvent

PLUGIN_PREFIX = "batch-implement:"
MAX_ARGUMENT_CHARS = 16_384  # characters of arguments: what shlex takes grows with the square
RESUMING_COMMANDS = ("resume", "retry", "add")


def handle_prompt_expansion(event: HookEvent) -> Optional[Dict[str, Any]]:
    """The answer to a UserPromptExpansion of one of our commands."""
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
    caller = authorization.caller_from_hook(event.session_id, os.environ, event.get_text("prompt_id") or None)
    try:
        if not caller.has_session:
            raise RefusedError(
                "Claude Code did not say which session this is, so the batch could not be told whose it is. Update "
                "Claude Code.",
                "installation",
            )
        return command(event, caller, event.get_text("command_args"))
    except BatchError as error:
        asked = f"/{name[len(PLUGIN_PREFIX) :]} {event.get_text('command_args')}".strip()
        audit_log.record_refusal(event.project, asked, error)
        return _block_with_error(error)
    except OSError as error:
        return _block_with_error(batchctl.io_error(error))


def _block_with_error(error: BatchError) -> Dict[str, Any]:
    return _block_prompt(f"{error.message}\n{error.help_line('/batchctl')}")


def _block_prompt(text: str) -> Dict[str, Any]:
    return {"decision": "block", "reason": text}


def _add_brief(state: State, *before: str) -> Dict[str, Any]:
    """The coordinator's brief for the model, and a line for the person's screen."""
    text = "\n".join([*before, prompts.coordinator_brief(state)])
    return {
        "systemMessage": prompts.start_notice(state),
        "hookSpecificOutput": {"hookEventName": "UserPromptExpansion", "additionalContext": text},
    }


def _split_arguments(text: str) -> List[str]:
    if len(text) > MAX_ARGUMENT_CHARS:
        raise UsageError(
            f"The arguments have {len(text):,} characters; at most {MAX_ARGUMENT_CHARS:,} are read. Put a long text "
            "into a file and name that.",
            "usage",
        )
    try:
        return shlex.split(text)
    except ValueError as error:
        raise UsageError(
            f"The arguments cannot be read ({error}): put a name or command that has quotes or blanks in quotes.",
            "usage",
        ) from error


def _run_batch_implement(event: HookEvent, caller: Caller, typed: str) -> Dict[str, Any]:
    parser = arguments.build_slash_parser()
    words = _split_arguments(typed)
    if "-h" in words or "--help" in words:
        return _block_prompt(parser.format_help().rstrip())
    if not words:
        raise UsageError(f"{sources.MISSING_FILE}\n`/batch-implement --help` shows what can be given.", "usage")
    options = parser.parse_args(words)
    project = event.project
    if options.resume is not None:
        if options.file is not None:
            raise UsageError(
                f"--resume goes on with the batch that is here; {options.file!r} would start another. Give one of "
                "them.",
                "usage",
            )
        state = batch_commands.resume(
            project, caller, options.resume or None, unattended=caller.unattended or options.unattended
        )
        return _add_brief(state)
    given = arguments.policy_from_options(options, unattended=caller.unattended)
    found = sources.read(options, event.cwd, project.root, None)
    if options.dry_run:
        plan = batch_commands.plan_batch(project, found, given, infer_order=options.infer_order)
        notes = [*found.notes, *batch_commands.find_create_blockers(project, caller, replace=options.replace)]
        return _block_prompt("\n".join([*notes, *status_report.format_plan(plan)]))
    state = batch_commands.create(
        project, caller, found, given, infer_order=options.infer_order, replace=options.replace
    )
    return _add_brief(state, *found.notes)


def _run_auto_implement(event: HookEvent, caller: Caller, typed: str) -> Optional[Dict[str, Any]]:
    """A text without a batch becomes a batch of one; during a batch only its open feature is worked on."""
    project = event.project
    text = clean(typed).strip()
    state = Store(project).read()
    if state is not None and batch_state.is_live(state):
        authorization.require_owner(state, caller, project)
        if text and not (state["active"] and text == _active_feature_text(state)):
            raise RefusedError(
                f"Batch {state['batch_id']} is under way ({prompts.progress_summary(state)}), and this is not its open "
                "feature. Add it to the batch (`batchctl add FILE`), or wait for the end; `/batch-implement --resume` "
                "goes on.",
                "batch-unfinished",
            )
        return None
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
    found = sources.FeatureSource(feature_list.Listing([feature_list.Feature(text, 0)], {}), "-", [])
    batch_commands.create(project, caller, found, {"unattended": caller.unattended})
    return None


def _active_feature_text(state: State) -> str:
    text: str = state["features"][state["active"]["feature_index"]]
    return text


def _run_batchctl(event: HookEvent, caller: Caller, typed: str) -> Dict[str, Any]:
    words = _split_arguments(typed)
    project = event.project
    shown = io.StringIO()
    try:
        with contextlib.redirect_stdout(shown):
            text = batchctl.run_for_text(words or ["status"], project, caller, event.cwd)
    except SystemExit:  # --help or --version, which argparse prints
        return _block_prompt(shown.getvalue().rstrip())
    state = Store(project).read()
    if words and words[0] in RESUMING_COMMANDS and state is not None and batch_state.is_live(state):
        if words[0] != "resume":
            state = batch_commands.resume(project, caller)
        *notes, said = text.splitlines()
        said = said.partition(". ")[0].rstrip(".") + "."  # the rest is for a person at a terminal
        return _add_brief(state, *notes, said)
    return _block_prompt(text)
