"""Policies: the verify command, the evidence and the limits of a batch and of a feature. Pure.

    create_policy(verify="make test", max_retries=1)    the default policy with these options
    combine_policy(defaults, options)                   from a features file's defaults and the options
    feature_policy(state, index)                        what applies to one feature

A feature's own policy overrides the options, the options override the file's defaults, those override DEFAULT. The
evidence is the union of all: no level can require less. The user sets a policy when the batch is created; no command
of the model changes it.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Dict, Mapping

    State = Dict[str, Any]

DEFAULT: State = {
    "verify": None,
    "verify_timeout_s": 1800,
    "evidence": ["commit"],
    "max_retries": 3,
    "max_retries_total": 50,
    "max_failures_in_a_row": 5,
    "unattended": False,
    "budgets": {},
}
WORKFLOW_MODES = ("auto-implement", "direct")
FEATURE_FIELDS = ("verify", "verify_timeout_s", "evidence", "workflow_mode", "max_retries")
RUN_FIELDS = ("setup", "keep")  # of the batch alone: how `batchctl run` prepares worktrees


def create_policy(**options: Any) -> State:
    """Return the default policy with `options`. A verify command adds `verify` to the evidence unless `evidence` is
    given.
    """
    policy = {**DEFAULT, "evidence": list(DEFAULT["evidence"]), "budgets": {}, **options}
    if policy["verify"] and "evidence" not in options:
        policy["evidence"] = ["commit", "verify"]
    return policy


def combine_policy(defaults: Mapping[str, Any], options: Mapping[str, Any]) -> State:
    """Return the policy of a new batch from a features file's `defaults` and the options."""
    values = {**defaults, **options}
    for name in ("evidence", "workflow_mode"):
        values.pop(name, None)
    values["unattended"] = bool(defaults.get("unattended") or options.get("unattended"))
    policy = create_policy(**values)
    policy["evidence"] = _merge_evidence(
        policy["evidence"], [*defaults.get("evidence", ()), *options.get("evidence", ())]
    )
    return policy


def feature_policy(state: State, index: int) -> State:
    """Return the policy and `workflow_mode` for feature `index`: its own over those of the batch."""
    batch = {**state["policy"], "workflow_mode": state["workflow_mode"]}
    overrides = state.get("details", {}).get(str(index), {}).get("policy")
    if not overrides:
        return batch
    own = {name: overrides[name] for name in FEATURE_FIELDS if name in overrides}
    evidence = _merge_evidence(batch["evidence"], own.get("evidence", ()))
    if own.get("verify"):
        evidence = _merge_evidence(evidence, ("verify",))
    return {**batch, **own, "evidence": evidence}


def _merge_evidence(first: Any, second: Any) -> Any:
    return [*first, *(name for name in dict.fromkeys(second) if name not in first)]
