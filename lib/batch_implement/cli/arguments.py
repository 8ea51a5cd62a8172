"""What can be typed: the verbs of batchctl and their options, and those of `/batch-implement`.

    options = read_verb(["create", "features.txt", "--verify", "make test"])
    options = batch_command().parse_args([...])          /batch-implement
    wishes = policy_of(options)                          what the options ask of the batch's policy

Wrong arguments raise Misuse: what is wrong, what was probably meant, and the usage, or where it stands when it is long.
"""

from __future__ import annotations

import argparse
import textwrap

from ..core import batch_state, policies
from ..core.errors import UsageError
from . import argument_types

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Callable, Dict, Iterable, NoReturn, Sequence

    Verb = Callable[..., argparse.ArgumentParser]  # name, what it does, an example, more about it

COMMAND_GROUPS = (
    (
        "For a person, to steer the batch",
        ("create", "run", "add", "skip", "retry", "pause", "resume", "abort", "issues"),
    ),
    (
        "For anyone, to look at it",
        ("status", "statusline", "next", "brief", "log", "report", "validate", "schema", "doctor"),
    ),
    ("For the model, feature by feature", ("start", "phase", "done", "fail", "decide")),
)
# `plan` is left out: it changes nothing, so no feature would ever be done in it.
PERMISSION_MODES = ("acceptEdits", "auto", "bypassPermissions", "default", "dontAsk")
DEFAULT_MODE = "acceptEdits"
MAX_USAGE_LINES = 2  # lines; a longer one hides what is wrong


class CommandParser(argparse.ArgumentParser):
    """An argument parser whose errors are Misuse with the usage, instead of an exit."""

    def error(self, message: str) -> NoReturn:
        """Raise Misuse."""
        usage = self.format_usage().rstrip()
        if len(usage.splitlines()) > MAX_USAGE_LINES:
            usage = f"`{self.prog} --help` shows what can be given."
        raise UsageError(f"{message[:1].upper()}{message[1:]}.{self._suggest_option(message)}\n{usage}", "usage")

    def _suggest_option(self, message: str) -> str:
        """A guess at the option that was meant, when `message` is about one that there is not."""
        if not message.startswith("unrecognized arguments: -"):
            return ""
        return _suggest(message.split(" ")[2].partition("=")[0], self._option_string_actions)


def _suggest(word: str, known: Iterable[str]) -> str:
    import difflib

    near = difflib.get_close_matches(word[:40], list(known), 1)  # its time grows with the square
    return f" Did you mean `{near[0]}`?" if near else ""


def add_source_options(parser: argparse.ArgumentParser) -> None:
    """Where features come from: a file or issues."""
    parser.add_argument(
        "file",
        nargs="?",
        metavar="FILE",
        help="a feature a line (.txt), a checklist (.md), .yaml or .json; - for standard input",
    )
    parser.add_argument("--issues", nargs="+", metavar="N", help="these issues, read with gh; quote '#74' in a shell")
    parser.add_argument("--label", metavar="NAME", help="the open issues with this label")
    parser.add_argument("--milestone", metavar="NAME", help="the open issues of this milestone")
    parser.add_argument(
        "--skip-unreadable", action="store_true", help="leave out issues that cannot be read; else they stop it"
    )


def add_batch_options(parser: argparse.ArgumentParser) -> None:
    """The options that a new batch is given, the same for `batchctl create` and `/batch-implement`."""
    add_source_options(parser)
    parser.add_argument("--verify", metavar="CMD", help="shell command that must exit 0 on a feature's commit")
    parser.add_argument(
        "--verify-timeout", metavar="SECONDS", type=argument_types.parse_positive, help="end it after this long (1800)"
    )
    parser.add_argument(
        "--review",
        action="store_true",
        help="ask for a review of each feature's diff by the agent batch-implement:reviewer",
    )
    parser.add_argument(
        "--max-retries",
        metavar="N",
        type=argument_types.parse_non_negative,
        help="retries of a feature after its first attempt (3)",
    )
    parser.add_argument(
        "--mode", choices=policies.WORKFLOW_MODES, help="a worker for each feature, or the conversation itself"
    )
    parser.add_argument(
        "--unattended", action="store_true", help="nobody is there to answer questions (the default under -p)"
    )
    parser.add_argument(
        "--infer-order", action="store_true", help="take what the texts suggest about their order (see --dry-run)"
    )
    parser.add_argument("--comment", action="store_true", help="write each feature's outcome to its issue")
    parser.add_argument(
        "--close",
        action="store_true",
        help="close a completed feature's issue once its commit is on the default branch",
    )
    parser.add_argument(
        "--replace", action="store_true", help="put an unfinished batch into the archive and start this one"
    )
    parser.add_argument("--dry-run", action="store_true", help="show what would be done or refuse it; write nothing")


def add_run_options(parser: argparse.ArgumentParser) -> None:
    """The options that `batchctl run` has beyond those of a new batch; `runner.options` reads them."""
    put = parser.add_argument
    put("--resume", nargs="?", const="", metavar="ID", help="go on with the batch that is here")
    put("--jobs", type=argument_types.parse_jobs, metavar="N", help="features that are worked on side by side (1)")
    put("--client", metavar="PATH", help="the Claude Code to start (`claude` on PATH)")
    put("--model", metavar="NAME", help="the model that it is to use")
    put(
        "--permission-mode", choices=PERMISSION_MODES, metavar="MODE",
        help=f"what it may do unasked: {', '.join(PERMISSION_MODES)} ({DEFAULT_MODE})",
    )  # fmt: skip
    put(
        "--allow",
        type=argument_types.parse_permission_rule,
        action="append",
        metavar="RULE",
        help="a permission rule more, as `Bash(make:*)`",
    )
    put("--worker", metavar="CMD", help="a shell command in place of Claude Code; the brief is its standard input")
    put("--worktrees", metavar="DIR", help="folder for the work trees (beside the project: PROJECT.worktrees)")
    put("--merge", action="store_true", default=None, help="fast-forward your branch to the result at the end")
    ways = parser.add_mutually_exclusive_group()
    for flag, value, text in (
        ("--pr", "batch", "open one pull request for the batch, with gh"),
        ("--pr-per-feature", "feature", "open one for each feature"),
    ):
        ways.add_argument(flag, dest="pr", action="store_const", const=value, help=text)
    put("--notify", metavar="CMD", help="shell command to run at the end, at a pause and when a feature has failed")
    put(
        "--feature-time",
        type=argument_types.parse_duration,
        metavar="DURATION",
        help=f"end a client after this long, {argument_types.DURATION_EXAMPLES} (2h)",
    )
    put("--feature-turns", type=argument_types.parse_count, metavar="N", help="end a client after so many turns")
    put("--feature-cost", type=argument_types.parse_amount, metavar="USD", help="end a client once it has cost so much")
    put(
        "--max-time",
        type=argument_types.parse_duration,
        metavar="DURATION",
        help=f"begin no feature after this long, {argument_types.DURATION_EXAMPLES}",
    )
    put(
        "--max-cost",
        type=argument_types.parse_amount,
        metavar="USD",
        help="begin no feature once all have cost so much",
    )
    put(
        "--cluster", metavar="WHERE",
        help="work on a Dask cluster: tls://HOST:PORT, its scheduler file, or ssh:hosts.txt (docs/cluster.md)",
    )  # fmt: skip
    put(
        "--slots",
        type=argument_types.parse_jobs,
        metavar="N",
        help="features at a time on each worker of it (as it says itself)",
    )
    put("--insecure-cluster", action="store_true", default=None, help="take one that is not encrypted")
    put(
        "--max-wait", type=argument_types.parse_duration, metavar="DURATION",
        help=f"pause once all waits have taken so long, {argument_types.DURATION_EXAMPLES} (no limit)",
    )  # fmt: skip


def policy_from_options(options: argparse.Namespace, *, unattended: bool) -> Dict[str, Any]:
    """What the options ask of a batch, by the names of its policy and `workflow_mode`; only what was given."""
    given: Dict[str, Any] = {"unattended": options.unattended or unattended}
    if options.verify is not None:
        if not options.verify.strip():
            raise UsageError("--verify is empty. Give it the command that must pass, or leave it out.", "usage")
        given["verify"] = options.verify
    if options.review:
        given["evidence"] = ["review"]
    wishes = {
        "verify_timeout_s": options.verify_timeout, "max_retries": options.max_retries, "workflow_mode": options.mode,
        "comment_issues": options.comment or None, "close_issues": options.close or None,
    }  # fmt: skip
    given.update({name: value for name, value in wishes.items() if value is not None})
    if (options.comment or options.close) and options.file is not None:
        raise UsageError(
            "--comment and --close are for a batch made of issues: `--issues N ...` or `--label NAME`.", "usage"
        )
    return given


def build_slash_parser() -> CommandParser:
    """The parser of `/batch-implement`."""
    parser = CommandParser(prog="/batch-implement", add_help=False, allow_abbrev=False)
    add_batch_options(parser)
    parser.add_argument("--resume", nargs="?", const="", metavar="ID", help="go on with the batch that is here")
    return parser


def parse_command(words: Sequence[str]) -> argparse.Namespace:
    """What a person or the model typed after `batchctl`; `help` and `help VERB` are the `--help` of all and of one,
    `help TOPIC` has the topic as `topic`.
    """
    words = list(words)
    top = build_parser()
    (known,) = (action.choices for action in top._actions if isinstance(action, argparse._SubParsersAction))
    if words[:1] == ["help"]:
        about = next((word for word in words[1:] if not word.startswith("-")), None)
        if about is not None and about not in known:
            return argparse.Namespace(verb="help", topic=_require_topic(about, known), json="--json" in words)
        words = [*([] if about is None else [about]), "--help"]
    verb = next((word for word in words if word not in ("--json", "--")), "")
    if verb and not verb.startswith("-") and verb not in known:
        raise UsageError(f"There is no verb {verb[:40]!r}.{_suggest(verb, known)} `batchctl help` lists them.", "usage")
    options, unknown = top.parse_known_args(words)
    if unknown:
        known.get(options.verb, top).error(f"unrecognized arguments: {' '.join(unknown)}")
    return options


def _require_topic(word: str, verbs: Iterable[str]) -> str:
    """The topic of this name. Misuse for another word, with what was probably meant."""
    from . import help_topics

    known = help_topics.list_topics()
    if word not in known:
        raise UsageError(
            f"There is no verb and no topic {word[:40]!r}.{_suggest(word, [*verbs, *known])} `batchctl help` lists the "
            f"verbs; the topics are the headings of {help_topics.page_path()}.",
            "usage",
        )
    return word


def build_parser() -> CommandParser:
    """The parser of all verbs."""
    texts: Dict[str, str] = {}
    top = CommandParser(
        prog="batchctl",
        usage="batchctl VERB [OPTIONS]",
        description="Look at and steer the batch of this project.",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    top.add_argument("--version", action="version", version=_version_text())
    top.add_argument("--json", action="store_true", help="answer with one JSON object")
    known = top.add_subparsers(
        dest="verb", metavar="VERB", parser_class=CommandParser, prog="batchctl", help=argparse.SUPPRESS
    )

    def verb(name: str, text: str, example: str, more: str = "") -> argparse.ArgumentParser:
        texts[name] = text
        sub = known.add_parser(
            name,
            description=f"{text[:1].upper()}{text[1:]}. {more}".rstrip(),
            epilog=f"Example: {example}",
            allow_abbrev=False,
        )
        sub.add_argument("--json", action="store_true", help="answer with one JSON object")
        return sub

    _add_user_commands(verb)
    _add_read_commands(verb)
    _add_worker_commands(verb)
    top.epilog = _format_command_list(texts)
    return top


def _add_user_commands(verb: Verb) -> None:
    """The verbs of a person, by which a batch is steered."""
    sub = verb(
        "create", "start a batch", "batchctl create features.txt --verify 'make test'",
        "With --dry-run it exits with 1 when something stops it.",
    )  # fmt: skip
    add_batch_options(sub)
    sub = verb(
        "run",
        "drive a whole batch without you: a client for each feature, until all are done",
        "batchctl run features.txt --verify 'make test' --jobs 2",
        "It exits with 0 when every feature is completed, else with 1; with --dry-run, with 0 when nothing stops it.",
    )
    add_batch_options(sub)
    add_run_options(sub)
    sub = verb("add", "append features to the batch", "batchctl add more.txt")
    add_source_options(sub)
    sub = verb("skip", "leave a feature out, and what needs it", 'batchctl skip 3 --reason "not wanted any more"')
    sub.add_argument("number", metavar="N", type=argument_types.parse_positive, help="the feature's number, from 1")
    sub.add_argument("--reason", default="by a person", metavar="TEXT", help="why; status shows it (by a person)")
    sub = verb("retry", "bring failed or skipped features back; without numbers all that failed", "batchctl retry 2 5")
    sub.add_argument(
        "numbers", metavar="N", nargs="*", type=argument_types.parse_positive, help="feature numbers, from 1"
    )
    sub = verb("pause", "let the batch wait and end its client's hold", "batchctl pause")
    sub.add_argument("--reason", default="by a person", metavar="TEXT", help="why; status shows it (by a person)")
    sub = verb("resume", "go on with a paused batch, or one whose client is gone", "batchctl resume")
    sub.add_argument("batch_id", nargs="?", metavar="ID", help="the batch, when you want to be sure which one")
    verb("abort", "end the batch and put it into the archive", "batchctl abort")
    verb("issues", "write outcomes to the issues and close them, as far as the batch asks for it", "batchctl issues")


def _add_read_commands(verb: Verb) -> None:
    """The verbs of anyone who looks."""
    sub = verb("status", "show the batch", "batchctl status --watch")
    sub.add_argument("--watch", action="store_true", help="go on showing it until it is over, or Ctrl-C")
    verb("statusline", "print one line about the batch for Claude Code's status line", "batchctl statusline")
    verb("next", "say what is next", "batchctl next")
    verb("brief", "show the open feature and what to do again", "batchctl brief")
    sub = verb("log", "tell what happened to the batch, oldest first", "batchctl log --feature 3")
    sub.add_argument(
        "--feature", metavar="N", type=argument_types.parse_positive, help="of one feature only, by its number from 1"
    )
    sub = verb(
        "report", "tell what became of a batch: outcomes, time line, cost",
        "batchctl report --format html --output ../report.html",
    )  # fmt: skip
    sub.add_argument(
        "--format", choices=("md", "html", "json"), default="md", help="md for Markdown, html or json (md)"
    )
    sub.add_argument("--output", metavar="FILE", help="write it there; default: standard output")
    sub.add_argument(
        "batch_id", nargs="?", metavar="BATCH_ID", help="one from the archive; default: the batch that is here"
    )
    sub = verb(
        "validate", "check state and features files against their schemas",
        "batchctl validate features.txt .claude/batch_state.json", "It exits with 1 when one of them is not valid.",
    )  # fmt: skip
    sub.add_argument("files", nargs="*", metavar="FILE", help="default: the state of this project")
    sub.add_argument(
        "--format", choices=("text", "json", "github", "junit"), default="text",
        help="text, json, github for annotations of a workflow or junit for XML (text)",
    )  # fmt: skip
    sub = verb("schema", "print a published schema", "batchctl schema batch_state")
    sub.add_argument(
        "name", nargs="?", default="batch_state", metavar="NAME", help="batch_state or features (batch_state)"
    )
    verb(
        "doctor", "look for everything that would stop a batch", "batchctl doctor",
        "It exits with 1 when it found something that would.",
    )  # fmt: skip


def _add_worker_commands(verb: Verb) -> None:
    """The verbs of the model, feature by feature."""
    verb("start", "open the next feature, or show the open one, and say what to do", "batchctl start")
    sub = verb("phase", "say what is being done now", "batchctl phase implement")
    sub.add_argument("name", choices=batch_state.PHASES, metavar="NAME", help=", ".join(batch_state.PHASES))
    sub = verb(
        "done", "close the open feature when there is evidence for it", "batchctl done",
        "It exits with 1 when something is missing, and says what; with 4 while verification goes on: call it again.",
    )  # fmt: skip
    sub.add_argument("--no-change", metavar="REASON", help="why the feature needs no commit")
    sub.add_argument(
        "--wait",
        metavar="SECONDS",
        type=argument_types.parse_non_negative,
        default=90,
        help="how long to wait for the verify command (90)",
    )
    sub = verb(
        "fail",
        "end the attempt at the open feature as failed",
        'batchctl fail --reason "the API it needs does not exist"',
    )
    sub.add_argument("--reason", required=True, metavar="TEXT", help="what went wrong; the next attempt is told")
    sub.add_argument("--permanent", action="store_true", help="another attempt cannot help")
    sub = verb(
        "decide",
        "record a question that was answered by a default",
        'batchctl decide "Which port?" "8080, as in the README"',
    )
    sub.add_argument("question", metavar="QUESTION", help="what nobody was there to answer")
    sub.add_argument("answer", metavar="ANSWER", help="what was taken for its answer, and why")


def _format_command_list(texts: Dict[str, str]) -> str:
    """The verbs with what they do, by whose they are."""
    lines = []
    for whose, names in COMMAND_GROUPS:
        lines.append(f"{whose}:")
        for name in names:
            lead = f"    {name:<10} "
            lines += textwrap.wrap(texts[name], 80, initial_indent=lead, subsequent_indent=" " * len(lead))
        lines.append("")
    lines.append("`batchctl help VERB` explains one, with an example. `batchctl help TOPIC` tells")
    lines.append("more of a message that names a topic.")
    return "\n".join(lines)


def _version_text() -> str:
    from .. import __version__

    return f"batchctl {__version__}"
