"""What a person asks of a batch: the verify command, the evidence, the limits; for the whole batch and for one feature.
Pure.

    new(verify="make test", max_retries=1)      a batch's policy: what is given, over the defaults
    asked(defaults, given)                      the same from a features file's defaults and from options
    of_feature(state, index)                    what holds for one feature

What is more particular holds: a feature's own wish before the options, those before the file's defaults, those before
DEFAULT. The evidence is the union of all: a file or an option can ask for more, none can ask for less. A policy is set
when the batch is created, by a person; nothing that the model can type changes it.
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


def create_policy(**given: Any) -> State:
    """The default policy with `given` laid over it. A verify command adds `verify` to the evidence that is asked for,
    unless `evidence` is given.
    """
    merged = {**DEFAULT, "evidence": list(DEFAULT["evidence"]), "budgets": {}}
    merged.update(given)
    if merged["verify"] and "evidence" not in given:
        merged["evidence"] = ["commit", "verify"]
    return merged


def combine_policy(defaults: Mapping[str, Any], given: Mapping[str, Any]) -> State:
    """The policy of a new batch from a features file's `defaults` and from options (`given`); neither has a
    `workflow_mode` any more. `unattended` is so when either says it.
    """
    wishes = {**defaults, **given}
    evidence = [*defaults.get("evidence", ()), *given.get("evidence", ())]
    for name in ("evidence", "workflow_mode"):
        wishes.pop(name, None)
    wishes["unattended"] = bool(defaults.get("unattended") or given.get("unattended"))
    policy = create_policy(**wishes)
    policy["evidence"] = _merge_evidence(policy["evidence"], evidence)
    return policy


def feature_policy(state: State, index: int) -> State:
    """What holds for feature `index`: the batch's policy and `workflow_mode`, with the feature's own laid over them."""
    batch = {**state["policy"], "workflow_mode": state["workflow_mode"]}
    own = state.get("details", {}).get(str(index), {}).get("policy")
    if not own:
        return batch
    wishes = {name: own[name] for name in FEATURE_FIELDS if name in own}
    evidence = _merge_evidence(batch["evidence"], wishes.get("evidence", ()))
    if wishes.get("verify"):
        evidence = _merge_evidence(evidence, ("verify",))
    return {**batch, **wishes, "evidence": evidence}


def _merge_evidence(first: Any, second: Any) -> Any:
    return [*first, *(name for name in dict.fromkeys(second) if name not in first)]
