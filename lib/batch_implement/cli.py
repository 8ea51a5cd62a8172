"""The front of batchctl: reads arguments, calls what they ask for, formats the answer. It decides nothing.

    main(argv)                        the command; the exit status
    answer(argv, project, caller, cwd) the same for `/batchctl VERB`, as text

Exit status: 0 done, 1 refused (standard error says what to do), 2 used wrongly, 3 the state cannot be used, 4 still
working: call again. With --json standard output is one JSON object, `{"error": {"message", "exit_code"}}` when
something was refused.
"""

from __future__ import annotations

import argparse
import json
import os
import sys

from . import caller as callers
from . import model, paths
from .errors import BatchError, Misuse, StateUnusable
from .store import Store

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Dict, List, NoReturn, Optional, Sequence, Tuple

    from .caller import Caller
    from .paths import Project

PLUGIN = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))


class Parser(argparse.ArgumentParser):
    """An argument parser whose errors are Misuse with the usage, instead of an exit."""

    def error(self, message: str) -> NoReturn:
        """Raise Misuse."""
        raise Misuse(f"{message[:1].upper()}{message[1:]}.\n{self.format_usage().rstrip()}")


def batch_options(parser: argparse.ArgumentParser) -> None:
    """The options that a new batch is given, the same for `batchctl create` and `/batch-implement`."""
    parser.add_argument("--verify", metavar="CMD", help="shell command that must exit 0 on a feature's commit")
    parser.add_argument("--verify-timeout", metavar="SECONDS", type=_positive, help="end it after this long (1800)")
    parser.add_argument(
        "--review", action="store_true", help="ask for a review of each feature by batch-implement:reviewer"
    )
    parser.add_argument(
        "--max-retries", metavar="N", type=_natural, help="retries of a feature after its first attempt (3)"
    )
    parser.add_argument(
        "--mode",
        choices=("auto-implement", "direct"),
        default="auto-implement",
        help="a worker for each feature, or the conversation itself",
    )
    parser.add_argument(
        "--unattended", action="store_true", help="nobody is there to answer questions (the default under -p)"
    )
    parser.add_argument(
        "--replace", action="store_true", help="put an unfinished batch into history and start this one"
    )
    parser.add_argument("--dry-run", action="store_true", help="show what would be done and write nothing")


def policy_of(options: argparse.Namespace, *, unattended: bool) -> Dict[str, Any]:
    """The batch's policy from its options."""
    given: Dict[str, Any] = {"unattended": options.unattended or unattended}
    if options.verify is not None:
        if not options.verify.strip():
            raise Misuse("--verify is empty. Give it the command that must pass, or leave it out.")
        given["verify"] = options.verify
    if options.verify_timeout is not None:
        given["verify_timeout_s"] = options.verify_timeout
    if options.max_retries is not None:
        given["max_retries"] = options.max_retries
    policy = model.policy(**given)
    if options.review:
        policy["evidence"] = [*policy["evidence"], "review"]
    return policy


def parser() -> Parser:
    """The parser of all verbs."""
    top = Parser(prog="batchctl", description="Look at and steer the batch of this project.", allow_abbrev=False)
    top.add_argument("--version", action="version", version=_version())
    verbs = top.add_subparsers(dest="verb", metavar="VERB", parser_class=Parser)

    def verb(name: str, text: str, example: str) -> argparse.ArgumentParser:
        sub = verbs.add_parser(
            name,
            help=text,
            description=text[:1].upper() + text[1:] + ".",
            epilog=f"Example: {example}",
            allow_abbrev=False,
        )
        sub.add_argument("--json", action="store_true", help="answer with one JSON object")
        return sub

    verb("start", "open the next feature, or show the open one, and say what to do", "batchctl start")
    sub = verb("phase", "say what is being done now", "batchctl phase implement")
    sub.add_argument("name", choices=model.PHASES, metavar="NAME", help=", ".join(model.PHASES))
    sub = verb("done", "close the open feature when there is evidence for it", "batchctl done")
    sub.add_argument("--no-change", metavar="REASON", help="why the feature needs no commit")
    sub.add_argument(
        "--wait", metavar="SECONDS", type=_natural, default=90, help="how long to wait for the verify command (90)"
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
    sub.add_argument("question", metavar="QUESTION")
    sub.add_argument("answer", metavar="ANSWER")
    verb("status", "show the batch", "batchctl status --json")
    verb("next", "say what is next", "batchctl next")
    verb("brief", "show the open feature and what to do again", "batchctl brief")

    sub = verb("create", "start a batch", "batchctl create features.txt --verify 'make test'")
    sub.add_argument("file", metavar="FILE", help="a feature a line (.txt) or a checklist (.md); - for standard input")
    batch_options(sub)
    sub = verb("add", "append features to the batch", "batchctl add more.txt")
    sub.add_argument("file", metavar="FILE", help="a features file; - for standard input")
    sub = verb("skip", "leave a feature out, and what needs it", 'batchctl skip 3 --reason "not wanted any more"')
    sub.add_argument("number", metavar="N", type=_positive, help="the feature's number, from 1")
    sub.add_argument("--reason", default="skipped by a person", metavar="TEXT", help="why; reports show it")
    sub = verb("retry", "bring failed or skipped features back; without numbers all that failed", "batchctl retry 2 5")
    sub.add_argument("numbers", metavar="N", nargs="*", type=_positive, help="feature numbers, from 1")
    sub = verb("pause", "let the batch wait and end its client's hold", "batchctl pause")
    sub.add_argument("--reason", default="paused by a person", metavar="TEXT", help="why; status shows it")
    sub = verb("resume", "go on with a paused batch, or one whose client is gone", "batchctl resume")
    sub.add_argument("batch_id", nargs="?", metavar="ID", help="the batch, when you want to be sure which one")
    verb("abort", "end the batch and put it into history", "batchctl abort")
    sub = verb(
        "validate", "check state files against the published schema", "batchctl validate .claude/batch_state.json"
    )
    sub.add_argument("files", nargs="*", metavar="FILE", help="default: the state of this project")
    sub = verb("schema", "print a published schema", "batchctl schema batch_state")
    sub.add_argument("name", nargs="?", default="batch_state", metavar="NAME", help="batch_state")
    verb("doctor", "look for everything that would stop a batch", "batchctl doctor")
    return top


def main(argv: Sequence[str]) -> int:
    """Run one command and print its answer; the exit status."""
    wants_json = "--json" in argv
    try:
        cwd = os.getcwd()
        project = paths.find_project(os.environ, cwd)
        caller = callers.from_environment(os.environ)
        text, data, notes = run(argv, project, caller, cwd)
        for note in notes:
            _print(note, sys.stderr)
        _print(json.dumps(data, ensure_ascii=False) if wants_json else text, sys.stdout)
        sys.stdout.flush()
        return int(data.get("exit_code", 0))
    except BatchError as error:
        return _say_error(error, wants_json)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except OSError as error:
        return _say_error(
            StateUnusable(f"The system said no: {error}. Look at `batchctl status` before you repeat it."), wants_json
        )
    except KeyboardInterrupt:
        return 130


def _say_error(error: BatchError, wants_json: bool) -> int:
    if wants_json:
        data = {"error": {"message": error.message, "exit_code": error.exit_code}}
        _print(json.dumps(data, ensure_ascii=False), sys.stdout)
    _print(f"batchctl: {error.message}", sys.stderr)
    return error.exit_code


def _print(text: str, stream: Any) -> None:
    """Print a line; what UTF-8 has no place for (bytes of a name that are no text) as `?`."""
    print(text.encode("utf-8", "replace").decode(), file=stream)


def answer(argv: Sequence[str], project: Project, caller: Caller, cwd: str) -> str:
    """What a verb answers, as text; errors are raised."""
    text, _, notes = run(argv, project, caller, cwd)
    return "\n".join([*notes, text])


def run(argv: Sequence[str], project: Project, caller: Caller, cwd: str) -> Tuple[str, Dict[str, Any], List[str]]:
    """Do what `argv` asks for. The answer as text, the same as data, and what else should be told."""
    options = parser().parse_args(list(argv))
    if options.verb is None:
        raise Misuse(f"A verb is missing.\n{parser().format_help().rstrip()}")
    store = Store(project, by_model=not caller.person)
    if options.verb not in ("validate", "schema", "doctor"):
        state = store.read_if_usable()  # what has to be mended is mended here, and told
        callers.refuse_persons_verb(options.verb, caller, state)
    try:
        answered = _VERBS[options.verb](options, project, caller, cwd, store)
    except BatchError as error:
        error.message = "\n".join([*store.notes, error.message])
        raise
    text, data = answered if isinstance(answered, tuple) else (answered, {"message": answered})
    return text, data, store.notes


def read_features(name: str, cwd: str) -> List[str]:
    """The texts in a features file, relative to `cwd`; `-` is standard input."""
    from . import features

    if name == "-":
        return [feature.text for feature in features.read_stdin(sys.stdin.buffer)]
    return [feature.text for feature in features.read_file(os.path.join(cwd, name))]


def _start(options: Any, project: Project, caller: Caller, cwd: str, store: Store) -> Any:
    from . import workerverbs

    return workerverbs.start(project, caller)


def _phase(options: Any, project: Project, caller: Caller, cwd: str, store: Store) -> Any:
    from . import workerverbs

    return workerverbs.phase(project, caller, options.name)


def _done(options: Any, project: Project, caller: Caller, cwd: str, store: Store) -> Any:
    from . import workerverbs

    return workerverbs.done(project, caller, no_change=options.no_change, wait_s=options.wait)


def _fail(options: Any, project: Project, caller: Caller, cwd: str, store: Store) -> Any:
    from . import workerverbs

    return workerverbs.fail(project, caller, options.reason, permanent=options.permanent)


def _decide(options: Any, project: Project, caller: Caller, cwd: str, store: Store) -> Any:
    from . import workerverbs

    return workerverbs.decide(project, caller, options.question, options.answer)


def _brief(options: Any, project: Project, caller: Caller, cwd: str, store: Store) -> Any:
    from . import workerverbs

    return workerverbs.brief(project)


def _status(options: Any, project: Project, caller: Caller, cwd: str, store: Store) -> Any:
    from . import report

    state = store.require()
    return "\n".join(report.status_lines(state)), report.status(state)


def _next(options: Any, project: Project, caller: Caller, cwd: str, store: Store) -> Any:
    from . import reminder, report

    state = store.require()
    text = reminder.next_step(state)
    index = report.following(state)
    feature = (
        None
        if index is None
        else {"index": index, "text": state["features"][index], "status": model.condition(state, index)}
    )
    return text, {"batch_id": state["batch_id"], "status": state["status"], "feature": feature, "message": text}


def _create(options: Any, project: Project, caller: Caller, cwd: str, store: Store) -> Any:
    from . import personverbs, report

    texts = read_features(options.file, cwd)
    policy = policy_of(options, unattended=caller.unattended)
    if options.dry_run:
        return "\n".join(report.plan_lines(texts, policy, options.mode))
    state = personverbs.create(
        project, caller, texts, features_file=options.file, policy=policy, mode=options.mode, replace=options.replace
    )
    text = (
        f"Batch {state['batch_id']} has {len(texts)} features. Go on with `/batch-implement --resume` in Claude Code."
    )
    return text, report.status(state)


def _add(options: Any, project: Project, caller: Caller, cwd: str, store: Store) -> Any:
    from . import personverbs

    return personverbs.add(project, read_features(options.file, cwd))


def _skip(options: Any, project: Project, caller: Caller, cwd: str, store: Store) -> Any:
    from . import personverbs

    return personverbs.skip(project, options.number - 1, options.reason)


def _retry(options: Any, project: Project, caller: Caller, cwd: str, store: Store) -> Any:
    from . import personverbs

    return personverbs.retry(project, [number - 1 for number in options.numbers])


def _pause(options: Any, project: Project, caller: Caller, cwd: str, store: Store) -> Any:
    from . import personverbs

    return personverbs.pause(project, options.reason)


def _resume(options: Any, project: Project, caller: Caller, cwd: str, store: Store) -> Any:
    from . import personverbs, report

    state = personverbs.resume(project, caller, options.batch_id)
    text = f"Batch {state['batch_id']} is in progress. Start its client: `/batch-implement --resume` in Claude Code."
    return text, report.status(state)


def _abort(options: Any, project: Project, caller: Caller, cwd: str, store: Store) -> Any:
    from . import personverbs

    return personverbs.abort(project)


def _validate(options: Any, project: Project, caller: Caller, cwd: str, store: Store) -> Any:
    from . import validation

    return validation.validate([os.path.join(cwd, name) for name in options.files] or [project.state])


def _schema(options: Any, project: Project, caller: Caller, cwd: str, store: Store) -> Any:
    from . import validation

    return validation.published(options.name)


def _doctor(options: Any, project: Project, caller: Caller, cwd: str, store: Store) -> Any:
    from . import doctor

    found = doctor.check(project, os.environ, PLUGIN)
    bad = any(entry["verdict"] == doctor.BAD for entry in found)
    lines = [f"{entry['verdict']:<4}  {entry['check']:<11}  {entry['text']}" for entry in found]
    return "\n".join(lines), {"checks": found, "exit_code": int(bad)}


_VERBS = {
    "start": _start, "phase": _phase, "done": _done, "fail": _fail, "decide": _decide, "status": _status, "next": _next,
    "brief": _brief, "create": _create, "add": _add, "skip": _skip, "retry": _retry, "pause": _pause, "resume": _resume,
    "abort": _abort, "validate": _validate, "schema": _schema, "doctor": _doctor,
}  # fmt: skip


def _natural(text: str) -> int:
    return _number(text, 0)


def _positive(text: str) -> int:
    return _number(text, 1)


def _number(text: str, least: int) -> int:
    if not (text.isascii() and text.isdigit() and len(text) < 10 and int(text) >= least):
        raise argparse.ArgumentTypeError(f"{text[:40]!r} is not a whole number from {least} to 999999999")
    return int(text)


def _version() -> str:
    from . import __version__

    return f"batchctl {__version__}"


def _entry() -> Optional[int]:
    """The console script."""
    return main(sys.argv[1:])
