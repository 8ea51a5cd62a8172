"""The commands of batchctl and their options, and those of `/batch-implement`.

    options = parse_command(["create", "features.txt", "--verify", "make test"])
    options = build_slash_parser().parse_args([...])     /batch-implement
    policy = policy_from_options(options)                what the options say about the batch's policy

Wrong arguments raise UsageError with a suggestion and the usage.
"""

from __future__ import annotations

import argparse
import textwrap

from ..commands.authorization import READ_COMMANDS, USER_COMMANDS, WORKER_COMMANDS
from ..core import batch_policy, batch_state
from ..core.errors import UsageError
from .argument_types import (
    DURATION_EXAMPLES,
    parse_amount,
    parse_count,
    parse_duration,
    parse_glob,
    parse_jobs,
    parse_non_negative,
    parse_permission_rule,
    parse_positive,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Dict, Iterable, NoReturn, Sequence, Tuple

    Option = Tuple[Any, ...]

COMMAND_GROUPS = (
    ("Commands for you, to steer the batch", USER_COMMANDS),
    ("Commands for you and the model, to look at it", READ_COMMANDS),
    ("Commands for the model, to work on a feature", WORKER_COMMANDS),
)
# `plan` is left out: it changes nothing, so no feature would ever be done in it.
PERMISSION_MODES = ("acceptEdits", "auto", "bypassPermissions", "default", "dontAsk")
DEFAULT_MODE = "acceptEdits"
MAX_USAGE_LINES = 2  # a longer usage would hide the error


class CommandParser(argparse.ArgumentParser):
    """An argument parser that raises UsageError with the usage, instead of exiting."""

    def error(self, message: str) -> NoReturn:
        """Raise UsageError."""
        usage = self.format_usage().rstrip()
        if len(usage.splitlines()) > MAX_USAGE_LINES:
            usage = f"`{self.prog} --help` lists the options."
        raise UsageError(f"{message[:1].upper()}{message[1:]}.{self._suggest_option(message)}\n{usage}", "usage")

    def _suggest_option(self, message: str) -> str:
        if not message.startswith("unrecognized arguments: -"):
            return ""
        return suggest(message.split(" ")[2].partition("=")[0], self._option_string_actions)


def suggest(word: str, known: Iterable[str]) -> str:
    """Return `Did you mean ...?`, after a blank, for the known word that is most similar; empty if none is."""
    import difflib

    similar = difflib.get_close_matches(word[:40], list(known), 1)  # its time grows with the square
    return f" Did you mean `{similar[0]}`?" if similar else ""


_EXIT_STATUS = {
    "create": "With --dry-run it exits with 1 when something prevents the start.",
    "run": "It exits with 0 when all features are completed, with 5 when some of them took no change, else with 1; "
    "with --dry-run, with 0 if it could start.",
    "validate": "It exits with 1 when one of them is not valid.",
    "doctor": "It exits with 1 on an error.",
    "done": "It exits with 1 when evidence is missing, and with 4 while the verify command runs: call it again.",
}
# Options as (name, metavar, parser of the value, help), some with more settings of add_argument. A flag has no parser.
_LIST_OPTIONS = (
    ("--leaves", "", None, "make each innermost open box a feature, instead of the outermost"),
    ("--bullets", "", None, "take the top-level bullets of a list that has no check boxes"),
    ("--optional", "", None, "take optional tasks too, those marked `[ ]*`"),
    ("--dash", "", str, "what the mark `[-]` means in this list", {"choices": ("open", "cancelled")}),
    (
        "--without",
        "HEADING",
        str,
        "leave out what is below this heading, or has this text; can be repeated",
        {"action": "append"},
    ),
    ("--tag", "NAME", str, "tag of a Task Master file"),
)
_LIST_HELP = "list of features: .txt (one per line), .md (a checklist), .yaml or .json; - for standard input"
_SOURCE_OPTIONS = (
    ("file", "FILE", str, _LIST_HELP, {"nargs": "?"}),
    ("--issues", "N", str, "read these issues with gh; quote '#74' in a shell", {"nargs": "+"}),
    ("--label", "NAME", str, "read the open issues with this label"),
    ("--milestone", "NAME", str, "read the open issues of this milestone"),
    ("--skip-unreadable", "", None, "leave out issues that cannot be read, instead of failing"),
    *_LIST_OPTIONS,
)
_BATCH_OPTIONS = (
    *_SOURCE_OPTIONS,
    (
        "--mode",
        "",
        str,
        "a worker for each feature, or the conversation itself",
        {"choices": batch_policy.WORKFLOW_MODES},
    ),
    ("--verify", "CMD", str, "shell command that must exit 0 on the commit of a feature"),
    ("--verify-timeout", "SECONDS", parse_positive, "time limit of that command (1800)"),
    ("--review", "", None, "require a review of each feature by the agent batch-implement:reviewer"),
    ("--max-retries", "N", parse_non_negative, "retries of a feature after its first attempt (3)"),
    ("--unattended", "", None, "nobody can answer questions (the default under -p)"),
    ("--infer-order", "", None, "use the order that the texts suggest (--dry-run shows it)"),
    ("--comment", "", None, "comment each feature's outcome on its issue"),
    ("--close", "", None, "close a feature's issue once its commit is on the default branch"),
    ("--tick", "", None, "tick the boxes of completed features in the list, in a commit at the very end"),
    ("--replace", "", None, "archive an unfinished batch and start this one"),
    ("--dry-run", "", None, "show what would be done, or why not; write nothing"),
)
_RESUME_OPTION = ("--resume", "ID", str, "continue the batch that is here", {"nargs": "?", "const": ""})
_RUN_OPTIONS = (
    _RESUME_OPTION,
    ("--jobs", "N", parse_jobs, "number of features in parallel (1)"),
    ("--setup", "CMD", str, "shell command that prepares each new worktree, like `npm ci`"),
    ("--keep", "GLOB", parse_glob, "what else stays in the worktrees of verify, as in .gitignore; can be repeated",
     {"action": "append"}),
    ("--client", "PATH", str, "path of Claude Code (`claude` on PATH)"),
    ("--model", "NAME", str, "model that Claude Code uses"),
    ("--worker", "CMD", str, "shell command to run instead of Claude Code, with the brief on standard input"),
    ("--worktrees", "DIR", str, "folder for the worktrees (PROJECT.worktrees, beside the project)"),
    ("--merge", "", None, "fast-forward your branch to the result at the end", {"default": None}),
    ("--notify", "CMD", str, "shell command to run at the end, at a pause and when a feature has failed"),
    ("--feature-time", "DURATION", parse_duration, f"time limit of a client, {DURATION_EXAMPLES} (2h)"),
    ("--feature-turns", "N", parse_count, "limit of turns of a client"),
    ("--feature-cost", "USD", parse_amount, "cost limit of a client"),
    ("--max-time", "DURATION", parse_duration, f"start no feature after this time, {DURATION_EXAMPLES}"),
    ("--max-cost", "USD", parse_amount, "start no feature once the run has cost this much"),
    ("--cluster", "WHERE", str, "run on a Dask cluster: tls://HOST:PORT, its scheduler file, or ssh:hosts.txt"),
    ("--slots", "N", parse_jobs, "features in parallel on each worker of the cluster"),
    ("--insecure-cluster", "", None, "allow a cluster without encryption", {"default": None}),
    ("--verify-jobs", "N", parse_jobs, "groups of finished features that are verified in parallel before a merge (1)"),
    ("--each-verified", "", None, "verify and merge finished features one by one, not in groups", {"default": None}),
    ("--max-wait", "DURATION", parse_duration, f"pause once all waits have taken this long, {DURATION_EXAMPLES}"),
    ("--permission-mode", "MODE", str,
     f"permission mode of Claude Code: {', '.join(PERMISSION_MODES)} ({DEFAULT_MODE})", {"choices": PERMISSION_MODES}),
    ("--allow", "RULE", parse_permission_rule, "additional permission rule, like `Bash(make:*)`; can be repeated",
     {"action": "append"}),
)  # fmt: skip
_REASON_OPTION = ("--reason", "TEXT", str, "shown by status (by the user)", {"default": "by the user"})
# Commands as (name, what it does, arguments of an example, options).
_COMMANDS = (
    ("create", "start a batch", "features.txt --verify 'make test'", _BATCH_OPTIONS),
    ("run", "do a whole batch unattended, with a client for each feature",
     "features.txt --verify 'make test' --jobs 2", (*_BATCH_OPTIONS, *_RUN_OPTIONS)),
    ("add", "append features to the batch", "more.txt", _SOURCE_OPTIONS),
    ("skip", "skip a feature and those that need it", '3 --reason "not wanted any more"',
     (("number", "N", parse_positive, "number of the feature, from 1"), _REASON_OPTION)),
    ("retry", "make failed, skipped or completed features pending again; without numbers all failed ones", "2 5",
     (("numbers", "N", parse_positive, "numbers of features, from 1", {"nargs": "*"}),)),
    ("pause", "pause the batch and release its client", "", (_REASON_OPTION,)),
    ("resume", "continue a batch that is paused or has no client", "",
     (("batch_id", "ID", str, "refuse any batch but this one", {"nargs": "?"}),)),
    ("abort", "end the batch and archive it", "", ()),
    ("issues", "comment on the issues of the batch and close them, as its policy says", "", ()),
    ("clean", "list what batches that are over have left: worktrees, branches, snapshots, logs", "--merged",
     (("--merged", "", None, "remove what your HEAD has"),
      ("--all", "", None, "remove everything, what is not merged too"))),
    ("status", "show the batch", "--watch",
     (("--watch", "", None, "keep showing it until it is over, or Ctrl-C"),)),
    ("statusline", "print one line about the batch for Claude Code's status line", "", ()),
    ("next", "show the next step", "", ()),
    ("brief", "show the brief of the open feature", "", ()),
    ("log", "show what happened to the batch, oldest first", "--feature 3",
     (("--feature", "N", parse_positive, "only this feature, by its number from 1"),)),
    ("report", "report on a batch: outcomes, timeline, cost", "--format html --output ../report.html",
     (("--format", "", str, "md for Markdown, html or json (md)", {"choices": ("md", "html", "json"), "default": "md"}),
      ("--output", "FILE", str, "write to this file (standard output)"),
      ("batch_id", "BATCH_ID", str, "an archived batch (the one that is here)", {"nargs": "?"}))),
    ("validate", "check state and features files against their schemas", "features.txt .claude/batch_state.json",
     (("files", "FILE", str, "files to check (the state of this project)", {"nargs": "*"}), *_LIST_OPTIONS,
      ("--format", "", str, "text, json, github for annotations of a workflow or junit for XML (text)",
       {"choices": ("text", "json", "github", "junit"), "default": "text"}))),
    ("convert", "write a list of any form as YAML, to look at it and edit it", "features.txt --output features.yaml",
     (("file", "FILE", str, "list of features: any file or folder that `create` reads; - for standard input"),
      *_LIST_OPTIONS,
      ("-o --output", "FILE", str, "write to this file, which must not exist yet (standard output)"))),
    ("schema", "print a published schema", "batch_state",
     (("name", "NAME", str, "batch_state or features (batch_state)", {"nargs": "?", "default": "batch_state"}),)),
    ("doctor", "check for everything that would stop a batch", "", ()),
    ("start", "open the next feature, unless one is open, and show its brief", "", ()),
    ("phase", "record the phase of a worker that no hooks watch", "implement",
     (("name", "NAME", str, ", ".join(batch_state.PHASES), {"choices": batch_state.PHASES}),)),
    ("done", "complete the open feature if there is evidence for it", "",
     (("--no-change", "REASON", str, "why the feature needs no commit"),
      ("--without", "FILE", str, "leave out this file or folder that git ignores; can be repeated",
       {"action": "append"}),
      ("--wait", "SECONDS", parse_non_negative, "how long to wait for the verify command (90)", {"default": 90}))),
    ("fail", "end the attempt at the open feature as failed", '--reason "the API it needs does not exist"',
     (("--reason", "TEXT", str, "what went wrong, for the next attempt", {"required": True}),
      ("--permanent", "", None, "another attempt cannot help"))),
    ("decide", "record a question that you answered with a default", '"Which port?" "8080, as in the README"',
     (("question", "QUESTION", str, "what nobody was there to answer"),
      ("answer", "ANSWER", str, "the answer that you assumed, and why"))),
)  # fmt: skip


def _add_options(parser: argparse.ArgumentParser, options: Iterable[Option]) -> None:
    for name, metavar, parse, text, *more in options:
        settings = dict(more[0]) if more else {}
        settings.update({"action": "store_true"} if parse is None else {"type": parse, "metavar": metavar or None})
        parser.add_argument(*name.split(), help=text, **settings)


def add_batch_options(parser: argparse.ArgumentParser) -> None:
    """Add the options of a new batch, the same for `batchctl create` and `/batch-implement`."""
    _add_options(parser, _BATCH_OPTIONS)


def add_run_options(parser: argparse.ArgumentParser) -> None:
    """Add the options of `batchctl run` that a new batch does not have; `runner.options` reads them."""
    _add_options(parser, _RUN_OPTIONS)
    _add_pull_request_options(parser)


def _add_pull_request_options(parser: argparse.ArgumentParser) -> None:
    add = parser.add_mutually_exclusive_group().add_argument
    add("--pr", dest="pr", action="store_const", const="batch", help="open a pull request for the batch, with gh")
    text = "open a pull request for each feature"
    add("--pr-per-feature", dest="pr", action="store_const", const="feature", help=text)


def policy_from_options(options: argparse.Namespace, *, unattended: bool) -> Dict[str, Any]:
    """Return what the options say about a batch: fields of its policy and `workflow_mode`, without those not given."""
    if options.verify is not None and not options.verify.strip():
        raise UsageError("--verify is empty. Give it the command that must pass, or leave it out.", "usage")
    if (options.comment or options.close) and options.file is not None:
        raise UsageError(
            "--comment and --close are for a batch made of issues: `--issues N ...` or `--label NAME`.", "usage"
        )
    policy = {
        "unattended": options.unattended or unattended,
        "verify": options.verify,
        "evidence": ["review"] if options.review else None,
        "verify_timeout_s": options.verify_timeout,
        "max_retries": options.max_retries,
        "workflow_mode": options.mode,
        "comment_issues": options.comment or None,
        "close_issues": options.close or None,
    }
    return {name: value for name, value in policy.items() if value is not None}


def build_slash_parser() -> CommandParser:
    """Return the parser of `/batch-implement`."""
    parser = CommandParser(prog="/batch-implement", add_help=False, allow_abbrev=False)
    _add_options(parser, (*_BATCH_OPTIONS, _RESUME_OPTION))
    return parser


def parse_command(words: Sequence[str]) -> argparse.Namespace:
    """Return the options after `batchctl`, with the `command`.

    `help` and `help COMMAND` are read as `--help`; `help TOPIC` has the topic as `topic`.
    """
    words = list(words)
    parser = build_parser()
    (parsers,) = (action.choices for action in parser._actions if isinstance(action, argparse._SubParsersAction))
    if words[:1] == ["help"]:
        subject = next((word for word in words[1:] if not word.startswith("-")), None)
        if subject is not None and subject not in parsers:
            return argparse.Namespace(command="help", topic=subject, json="--json" in words)
        words = [*([] if subject is None else [subject]), "--help"]
    command = next((word for word in words if word not in ("--json", "--")), "")
    if command and not command.startswith("-") and command not in parsers:
        raise UsageError(
            f"Unknown command {command[:40]!r}.{suggest(command, parsers)} Run `batchctl --help` for a list.", "usage"
        )
    options, unknown = parser.parse_known_args(words)
    if unknown:
        parsers.get(options.command, parser).error(f"unrecognized arguments: {' '.join(unknown)}")
    return options


def build_parser() -> CommandParser:
    """Return the parser of all commands."""
    parser = CommandParser(
        prog="batchctl",
        usage="batchctl COMMAND [OPTIONS]",
        description="Look at and steer the batch of this project.",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("--version", action="version", version=_version_text())
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    commands = parser.add_subparsers(
        dest="command", metavar="COMMAND", parser_class=CommandParser, prog="batchctl", help=argparse.SUPPRESS
    )

    for name, summary, example, options in _COMMANDS:
        command = commands.add_parser(
            name,
            description=f"{summary[:1].upper()}{summary[1:]}. {_EXIT_STATUS.get(name, '')}".rstrip(),
            epilog=f"Example: batchctl {name} {example}".rstrip(),
            allow_abbrev=False,
        )
        command.add_argument("--json", action="store_true", help="print one JSON object")
        _add_options(command, options)
        if name == "run":
            _add_pull_request_options(command)
    parser.epilog = _format_command_list({name: summary for name, summary, *_ in _COMMANDS})
    return parser


def _format_command_list(summaries: Dict[str, str]) -> str:
    """Return the commands with their summaries, by group."""
    lines = []
    for heading, names in COMMAND_GROUPS:
        lines.append(f"{heading}:")
        for name in names:
            lead = f"    {name:<10} "
            lines += textwrap.wrap(summaries[name], 80, initial_indent=lead, subsequent_indent=" " * len(lead))
        lines.append("")
    lines.append("Run `batchctl help COMMAND` for its options and an example, `batchctl help")
    lines.append("TOPIC` for the topic that an error names.")
    return "\n".join(lines)


def _version_text() -> str:
    from .. import __version__

    return f"batchctl {__version__}"
