"""The options of `batchctl run`: typed by a person, kept in the state, taken up again by `--resume`.

    add(parser)                                 beyond `arguments.batch_options`
    given = of(namespace, cwd)                  what was typed; None where nothing was
    options = settled(given, root)              a new run: defaults where nothing was typed
    options = from_kept(state, given, root)     `--resume`: what is typed anew holds, else what the last run had
    as_kept(options), budgets(options)          the state's `run.options` and `policy.budgets`

A duration is typed as `90s`, `45m`, `8h` or `1h30m`, an amount in US dollars. Everything that is wrong is Misuse.
"""

from __future__ import annotations

import argparse
import math
import os
import re
from typing import Any, Dict, List, NamedTuple, Optional

from ..errors import Misuse

MOST_JOBS = 64
FEATURE_TIME_S = 7200
# `plan` changes nothing, so no feature would ever be done in it.
PERMISSION_MODES = ("acceptEdits", "auto", "bypassPermissions", "default", "dontAsk")
DEFAULT_MODE = "acceptEdits"
_LIMITS = {
    "feature_time_s": "feature_time", "feature_turns": "feature_turns", "feature_cost_usd": "feature_cost",
    "time_s": "max_time", "cost_usd": "max_cost", "wait_s": "max_wait",
}  # fmt: skip
_KEPT = ("worker", "model", "permission_mode", "allow", "merge", "pr", "notify", "client")
_OF_THE_CLIENT = ("client", "model", "permission_mode", "allow", "feature_turns", "feature_cost")
_DURATION = re.compile(r"(?:([0-9]{1,6})h)?(?:([0-9]{1,6})m)?(?:([0-9]{1,6})s)?")
_RULE = re.compile(r"[A-Za-z][A-Za-z0-9_*-]*(?:\(.+\))?")


class Options(NamedTuple):
    """How a run is asked for. None stands for what nobody said.

    `resume` is a batch's id, empty for the one that is here. `worker` is a shell command in place of the client,
    `client` the client's program, `notify` a shell command. `worktrees` is the folder that holds the work trees of all
    batches. `pr` is `batch` or `feature`. Times are in seconds, costs in US dollars; None is no limit.
    """

    resume: Optional[str] = None
    jobs: Optional[int] = None
    worker: Optional[str] = None
    client: Optional[str] = None
    model: Optional[str] = None
    permission_mode: Optional[str] = None
    allow: Optional[List[str]] = None
    worktrees: Optional[str] = None
    merge: Optional[bool] = None
    pr: Optional[str] = None
    notify: Optional[str] = None
    feature_time: Optional[int] = None
    feature_turns: Optional[int] = None
    feature_cost: Optional[float] = None
    max_time: Optional[int] = None
    max_cost: Optional[float] = None
    max_wait: Optional[int] = None


def add(parser: argparse.ArgumentParser) -> None:
    """The options that `run` has beyond those of a new batch."""
    put = parser.add_argument
    put("--resume", nargs="?", const="", metavar="ID", help="go on with the batch that is here")
    put("--jobs", type=_jobs, metavar="N", help="features that are worked on side by side (1)")
    put("--client", metavar="PATH", help="the Claude Code to start (`claude` on PATH)")
    put("--model", metavar="NAME", help="the model that it is to use")
    put(
        "--permission-mode", choices=PERMISSION_MODES, metavar="MODE",
        help=f"what it may do unasked: {', '.join(PERMISSION_MODES)} ({DEFAULT_MODE})",
    )  # fmt: skip
    put("--allow", type=_rule, action="append", metavar="RULE", help="a permission rule more, as `Bash(make:*)`")
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
    put("--feature-time", type=_duration, metavar="DURATION", help="end a client after this long (2h)")
    put("--feature-turns", type=_count, metavar="N", help="end a client after so many turns")
    put("--feature-cost", type=_amount, metavar="USD", help="end a client once it has cost so much")
    put("--max-time", type=_duration, metavar="DURATION", help="begin no feature after this long")
    put("--max-cost", type=_amount, metavar="USD", help="begin no feature once all have cost so much")
    put("--max-wait", type=_duration, metavar="DURATION", help="pause once all waits have taken so long (no limit)")


def of(namespace: argparse.Namespace, cwd: str) -> Options:
    """What was typed. Paths become absolute, from the folder `cwd` on. Raises Misuse."""
    typed = {name: getattr(namespace, name) for name in Options._fields}
    for name in ("worker", "client", "model", "notify", "worktrees"):
        value = typed[name]
        if value is not None and (not value.strip() or "\0" in value):
            raise Misuse(f"--{name} is empty or no text. Give it a value, or leave it out.")
    if typed["worker"]:
        useless = [f"--{name.replace('_', '-')}" for name in _OF_THE_CLIENT if typed[name] is not None]
        if useless:
            raise Misuse(f"--worker takes the place of Claude Code, so {', '.join(useless)} would do nothing.")
    if typed["client"] and os.sep in typed["client"]:
        typed["client"] = _absolute(typed["client"], cwd)
    if typed["worktrees"]:
        typed["worktrees"] = _absolute(typed["worktrees"], cwd)
    return Options(**typed)


def settled(given: Options, root: str) -> Options:
    """The options of a new run in the project at `root`: defaults stand where nothing was given."""
    return given._replace(
        jobs=given.jobs or 1,
        permission_mode=given.permission_mode or DEFAULT_MODE,
        allow=list(given.allow or ()),
        worktrees=given.worktrees or f"{root}.worktrees",
        merge=bool(given.merge),
        feature_time=given.feature_time or FEATURE_TIME_S,
    )


def from_kept(state: Dict[str, Any], given: Options, root: str) -> Options:
    """The options of a run that goes on with the batch of `state`: what was given, else what its last run had. A batch
    that was never run has its limits, if any.

    A client given anew takes the place of a command, and the other way round.
    """
    kept: Dict[str, Any] = {field: state["policy"].get("budgets", {}).get(name) for name, field in _LIMITS.items()}
    run = state.get("run")
    if run:
        kept.update({name: run["options"].get(name) for name in _KEPT})
        kept.update(jobs=run["jobs"], worktrees=os.path.dirname(run["worktrees"]))
    typed = {name: value for name, value in given._asdict().items() if value is not None}
    if "worker" in typed:
        kept.update(dict.fromkeys(_OF_THE_CLIENT))
    elif any(name in typed for name in _OF_THE_CLIENT):
        kept["worker"] = None
    return settled(Options(**{**kept, **typed}), root)


def as_kept(options: Options) -> Dict[str, Any]:
    """The state's `run.options`."""
    return {name: getattr(options, name) for name in _KEPT}


def budgets(options: Options) -> Dict[str, Any]:
    """The state's `policy.budgets`: the limits that there are."""
    limits = {name: getattr(options, field) for name, field in _LIMITS.items()}
    return {name: limit for name, limit in limits.items() if limit is not None}


def spoken(seconds: float) -> str:
    """A duration as a person types it: `1h30m`, `45m`, `90s`."""
    whole = math.ceil(seconds)
    if whole < 100:
        return f"{whole}s"
    minutes, left = divmod(whole, 60)
    hours, minutes = divmod(minutes, 60)
    parts = ((hours, "h"), (minutes, "m"), (left if not hours else 0, "s"))
    return "".join(f"{number}{unit}" for number, unit in parts if number)


def _absolute(path: str, cwd: str) -> str:
    return os.path.normpath(os.path.join(cwd, os.path.expanduser(path)))


def _duration(text: str) -> int:
    found = _DURATION.fullmatch(text)
    seconds = sum(int(number or 0) * unit for number, unit in zip(found.groups(), (3600, 60, 1))) if found else 0
    if not 1 <= seconds <= 366 * 86_400:
        raise argparse.ArgumentTypeError(f"{text[:40]!r} is no duration; write it as 90s, 45m, 8h or 1h30m")
    return seconds


def _amount(text: str) -> float:
    if not re.fullmatch(r"[0-9]{1,6}(\.[0-9]{1,6})?", text, re.ASCII) or not float(text):
        raise argparse.ArgumentTypeError(f"{text[:40]!r} is no amount in US dollars; write it as 5 or 2.50")
    return float(text)


def _count(text: str) -> int:
    return _whole(text, 1_000_000)


def _jobs(text: str) -> int:
    return _whole(text, MOST_JOBS)


def _whole(text: str, most: int) -> int:
    if not re.fullmatch(r"[0-9]{1,9}", text, re.ASCII) or not 1 <= int(text) <= most:
        raise argparse.ArgumentTypeError(f"{text[:40]!r} is not a whole number from 1 to {most}")
    return int(text)


def _rule(text: str) -> str:
    if not _RULE.fullmatch(text) or not text.isprintable():
        raise argparse.ArgumentTypeError(
            f"{text[:60]!r} is no permission rule; write it as `Bash(make:*)`, `WebFetch` or `mcp__server__tool`"
        )
    return text
