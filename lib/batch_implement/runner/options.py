"""The options of `batchctl run`: read from the command line, stored in the state, reused by `--resume`.

typed = from_arguments(namespace, cwd)          None for each option that was not given
options = with_defaults(typed, root)            a new run
options = for_resume(state, typed, root)        `--resume`: the options of the last run, replaced by those given
to_stored(options), to_budgets(options)         the state's `run.options` and `policy.budgets`
to_policy(options)                              fields of the state's `policy` that were given
"""

from __future__ import annotations

import os
from typing import Any, Dict, List, NamedTuple, Optional

from ..cli import arguments
from ..core import batch_policy
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
    "insecure_cluster", "verify_jobs", "each_verified",
)  # fmt: skip
_CLIENT_OPTIONS = ("client", "model", "permission_mode", "allow", "feature_turns", "feature_cost")


class Options(NamedTuple):
    """The options of a run; None for one that was not given, or for no limit. Times in seconds, costs in US dollars.

    `resume` is a batch id, empty for the current batch. `worker` is a shell command that replaces the client, `client`
    the client's program, `notify` a shell command. `worktrees` is the folder of the worktrees of all batches. `cluster`
    is the address of a Dask scheduler, its file, or `ssh:` and a file of hosts, with `slots` features in parallel on
    each worker; `insecure_cluster` allows one without encryption. `pr` is `batch` or `feature`. `setup` and `keep` are
    fields of the batch's policy: None leaves those that it has. The merge queue verifies `verify_jobs` groups at a
    time; with `each_verified` there are no groups.
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
    setup: Optional[str] = None
    keep: Optional[List[str]] = None
    insecure_cluster: Optional[bool] = None
    verify_jobs: Optional[int] = None
    each_verified: Optional[bool] = None


def from_arguments(namespace: argparse.Namespace, cwd: str) -> Options:
    """Return the options that were given, with paths relative to `cwd` made absolute. Raise UsageError if invalid."""
    typed = {name: getattr(namespace, name) for name in Options._fields}
    for name in ("worker", "client", "model", "notify", "worktrees", "cluster", "setup"):
        value = typed[name]
        if value is not None and (not value.strip() or "\0" in value):
            raise UsageError(f"Invalid value for --{name}: it is empty. Give a value, or omit the option.", "usage")
    if typed["worker"]:
        unused = [f"--{name.replace('_', '-')}" for name in _CLIENT_OPTIONS if typed[name] is not None]
        if unused:
            raise UsageError(
                f"--worker replaces Claude Code, so {', '.join(unused)} would do nothing. Omit one of them.", "usage"
            )
    if typed["client"] and os.sep in typed["client"]:
        typed["client"] = _absolute_path(typed["client"], cwd)
    if typed["worktrees"]:
        typed["worktrees"] = _absolute_path(typed["worktrees"], cwd)
    if typed["cluster"]:
        typed["cluster"] = _absolute_cluster(typed["cluster"], cwd)
    elif typed["resume"] is None and (typed["slots"] or typed["insecure_cluster"]):
        raise UsageError("--slots and --insecure-cluster need a cluster: add `--cluster WHERE`.", "usage")
    return Options(**typed)


def _absolute_cluster(cluster: str, cwd: str) -> str:
    """Return the value of `--cluster` with an absolute path. Raise UsageError if there is no such file."""
    if "://" in cluster:
        return cluster
    prefix = "ssh:" if cluster.startswith("ssh:") else ""
    path = _absolute_path(cluster[len(prefix) :], cwd)
    if not os.path.isfile(path):
        raise UsageError(
            f"Invalid value for --cluster: file not found: {path}. Give the address of a scheduler "
            "(`tls://HOST:8786`), a scheduler file, or `ssh:hosts.txt`.",
            "cluster-setup",
        )
    return prefix + path


def with_defaults(typed: Options, root: str) -> Options:
    """Return the options of a new run in the project at `root`."""
    return typed._replace(
        jobs=typed.jobs or (None if typed.cluster else 1),
        permission_mode=typed.permission_mode or arguments.DEFAULT_MODE,
        allow=list(typed.allow or ()),
        worktrees=typed.worktrees or f"{root}.worktrees",
        merge=bool(typed.merge),
        feature_time=typed.feature_time or FEATURE_TIME_S,
    )


def for_resume(state: Dict[str, Any], typed: Options, root: str) -> Options:
    """Return the options of a run that resumes the batch: those given, else those of its last run.

    Options of the client replace a stored worker command, and a worker command replaces those of the client.
    """
    budgets = state["policy"].get("budgets", {})
    stored: Dict[str, Any] = {option: budgets.get(name) for name, option in _LIMIT_OPTIONS.items()}
    run = state.get("run")
    if run:
        stored.update({name: run["options"].get(name) for name in _STORED_OPTIONS})
        stored["jobs"] = None if run["options"].get("cluster") else run["jobs"]
        stored["worktrees"] = os.path.dirname(run["worktrees"])
    chosen = {name: value for name, value in typed._asdict().items() if value is not None}
    if "worker" in chosen:
        stored.update(dict.fromkeys(_CLIENT_OPTIONS))
    elif any(name in chosen for name in _CLIENT_OPTIONS):
        stored["worker"] = None
    if chosen.get("cluster") not in (None, stored.get("cluster")):
        stored["insecure_cluster"] = None  # it was given for another cluster
    return with_defaults(Options(**{**stored, **chosen}), root)


def to_stored(options: Options) -> Dict[str, Any]:
    """Return the state's `run.options`."""
    return {name: getattr(options, name) for name in _STORED_OPTIONS}


def to_budgets(options: Options) -> Dict[str, Any]:
    """Return the state's `policy.budgets`: the limits that were set."""
    limits = {name: getattr(options, option) for name, option in _LIMIT_OPTIONS.items()}
    return {name: limit for name, limit in limits.items() if limit is not None}


def to_policy(options: Options) -> Dict[str, Any]:
    """Return the fields of the state's `policy` that were given."""
    values = {name: getattr(options, name) for name in batch_policy.RUN_FIELDS}
    return {name: value for name, value in values.items() if value is not None}


def _absolute_path(path: str, cwd: str) -> str:
    return os.path.normpath(os.path.join(cwd, os.path.expanduser(path)))
