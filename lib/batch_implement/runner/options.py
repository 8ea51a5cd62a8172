"""The options of `batchctl run`: typed by a person, kept in the state, taken up again by `--resume`.

    given = of(namespace, cwd)                  what was typed; None where nothing was
    options = settled(given, root)              a new run: defaults where nothing was typed
    options = from_kept(state, given, root)     `--resume`: what is typed anew holds, else what the last run had
    as_kept(options), budgets(options)          the state's `run.options` and `policy.budgets`

A duration is typed as `90s`, `45m`, `8h` or `1h30m`, an amount in US dollars. Everything that is wrong is Misuse.
"""

from __future__ import annotations

import os
from typing import Any, Dict, List, NamedTuple, Optional

from ..cli import arguments
from ..core.errors import UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    import argparse

FEATURE_TIME_S = 7200
_LIMIT_OPTIONS = {
    "feature_time_s": "feature_time", "feature_turns": "feature_turns", "feature_cost_usd": "feature_cost",
    "time_s": "max_time", "cost_usd": "max_cost", "wait_s": "max_wait",
}  # fmt: skip
_STORED_OPTIONS = (
    "worker", "model", "permission_mode", "allow", "merge", "pr", "notify", "client", "cluster", "slots",
    "insecure_cluster",
)  # fmt: skip
_CLIENT_OPTIONS = ("client", "model", "permission_mode", "allow", "feature_turns", "feature_cost")


class Options(NamedTuple):
    """How a run is asked for. None stands for what nobody said.

    `resume` is a batch's id, empty for the one that is here. `worker` is a shell command in place of the client,
    `client` the client's program, `notify` a shell command. `worktrees` is the folder that holds the work trees of all
    batches. `cluster` is a Dask scheduler's address, its file, or `ssh:` and a file of hosts, with `slots` features at
    a time on each of its workers; `insecure_cluster` takes one that is not encrypted. `pr` is `batch` or `feature`.
    Times are in seconds, costs in US dollars; None is no limit.
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
    cluster: Optional[str] = None
    slots: Optional[int] = None
    insecure_cluster: Optional[bool] = None


def from_arguments(namespace: argparse.Namespace, cwd: str) -> Options:
    """What was typed. Paths become absolute, from the folder `cwd` on. Raises Misuse."""
    typed = {name: getattr(namespace, name) for name in Options._fields}
    for name in ("worker", "client", "model", "notify", "worktrees", "cluster"):
        value = typed[name]
        if value is not None and (not value.strip() or "\0" in value):
            raise UsageError(f"--{name} is empty or no text. Give it a value, or leave it out.", "usage")
    if typed["worker"]:
        useless = [f"--{name.replace('_', '-')}" for name in _CLIENT_OPTIONS if typed[name] is not None]
        if useless:
            raise UsageError(
                f"--worker takes the place of Claude Code, so {', '.join(useless)} would do nothing. Leave one of them "
                "out.",
                "usage",
            )
    if typed["client"] and os.sep in typed["client"]:
        typed["client"] = _absolute_path(typed["client"], cwd)
    if typed["worktrees"]:
        typed["worktrees"] = _absolute_path(typed["worktrees"], cwd)
    if typed["cluster"]:
        typed["cluster"] = _absolute_cluster(typed["cluster"], cwd)
    elif typed["resume"] is None and (typed["slots"] or typed["insecure_cluster"]):
        raise UsageError("--slots and --insecure-cluster are about a cluster. Name it: `--cluster WHERE`.", "usage")
    return Options(**typed)


def _absolute_cluster(given: str, cwd: str) -> str:
    """What was given after `--cluster`, with its path absolute."""
    if "://" in given:
        return given
    way, path = ("ssh:", given[4:]) if given.startswith("ssh:") else ("", given)
    path = _absolute_path(path, cwd)
    if not os.path.isfile(path):
        raise UsageError(
            f"--cluster: there is no file {path}. Give a scheduler's address (`tls://HOST:8786`), the scheduler file "
            "that it wrote, or `ssh:hosts.txt`.",
            "cluster-setup",
        )
    return way + path


def with_defaults(given: Options, root: str) -> Options:
    """The options of a new run in the project at `root`: defaults stand where nothing was given."""
    return given._replace(
        jobs=given.jobs or (None if given.cluster else 1),
        permission_mode=given.permission_mode or arguments.DEFAULT_MODE,
        allow=list(given.allow or ()),
        worktrees=given.worktrees or f"{root}.worktrees",
        merge=bool(given.merge),
        feature_time=given.feature_time or FEATURE_TIME_S,
    )


def for_resume(state: Dict[str, Any], given: Options, root: str) -> Options:
    """The options of a run that goes on with the batch of `state`: what was given, else what its last run had. A batch
    that was never run has its limits, if any.

    A client given anew takes the place of a command, and the other way round.
    """
    kept: Dict[str, Any] = {
        field: state["policy"].get("budgets", {}).get(name) for name, field in _LIMIT_OPTIONS.items()
    }
    run = state.get("run")
    if run:
        kept.update({name: run["options"].get(name) for name in _STORED_OPTIONS})
        kept.update(
            jobs=None if run["options"].get("cluster") else run["jobs"], worktrees=os.path.dirname(run["worktrees"])
        )
    typed = {name: value for name, value in given._asdict().items() if value is not None}
    if "worker" in typed:
        kept.update(dict.fromkeys(_CLIENT_OPTIONS))
    elif any(name in typed for name in _CLIENT_OPTIONS):
        kept["worker"] = None
    if typed.get("cluster") not in (None, kept.get("cluster")):
        kept["insecure_cluster"] = None  # that was said of another one
    return with_defaults(Options(**{**kept, **typed}), root)


def to_stored(options: Options) -> Dict[str, Any]:
    """The state's `run.options`."""
    return {name: getattr(options, name) for name in _STORED_OPTIONS}


def to_budgets(options: Options) -> Dict[str, Any]:
    """The state's `policy.budgets`: the limits that there are."""
    limits = {name: getattr(options, field) for name, field in _LIMIT_OPTIONS.items()}
    return {name: limit for name, limit in limits.items() if limit is not None}


def _absolute_path(path: str, cwd: str) -> str:
    return os.path.normpath(os.path.join(cwd, os.path.expanduser(path)))
