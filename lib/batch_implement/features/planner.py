"""From a list of features to a batch: their order, what each needs, what holds for each. Pure.

    state = plans.first_state(batch_id, now, listing, policy, ...)      a first version, not written yet
    more = plans.more(state, listing)                                   the arguments of `transitions.add`

The texts, ids, issue numbers and indices are joined here and stay joined: a feature's index is its place in the
listing, whatever was left out before. Errors are those of `ordering`: Misuse that names the features.
"""

from __future__ import annotations

from ..core import batch_state, policies
from ..core.batch_state import key
from ..core.errors import UsageError
from . import ordering

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Dict, Iterable, List, Optional, Sequence

    from ..core.batch_state import State
    from .reader import Feature, Listing


def build_first_state(
    batch_id: str,
    now: str,
    listing: Listing,
    given: State,
    *,
    features_file: str,
    infer_order: bool = False,
    untracked: Iterable[str] = (),
) -> State:
    """A first version of a batch over a listing. `given` is what options ask for, by the names of the policy and
    `workflow_mode`; the listing's defaults hold where they say nothing. With `infer_order` hints count as needs.
    """
    features = listing.features
    items = [_to_item(feature) for feature in features]
    said = ordering.resolve_dependencies(items)
    hints = ordering.find_hints(items, [str(feature.details.get("description", "")) for feature in features])
    needs = ordering.add_hints(said, hints) if infer_order else said
    order = ordering.sort_features(len(items), needs, [item.text for item in items])
    issues = [feature.issue for feature in features if feature.issue is not None]
    state = batch_state.new_state(
        batch_id,
        [feature.text for feature in features],
        now,
        features_file=features_file,
        source_type="issues" if issues else "file",
        issue_numbers=issues or None,
        policy=policies.combine_policy(listing.defaults, given),
        workflow_mode=given.get("workflow_mode") or listing.defaults.get("workflow_mode") or policies.WORKFLOW_MODES[0],
        untracked=untracked,
        details=_details_by_key(features, 0),
        order=order,
        needs=_dependencies_by_key(needs),
        analysis=ordering.build_analysis(said, order, hints, taken=infer_order),
    )
    require_verify_command(state, 0)
    return state


def build_additions(state: State, listing: Listing) -> Dict[str, Any]:
    """The features of a listing as those that follow the ones of `state`: `{features, details, needs, order, issues}`
    as `transitions.add` takes them. A number that a feature refers to is that which `status` shows, the new ones
    counted on.
    """
    first = state["total_features"]
    numbers = state.get("issue_numbers") or [None] * first
    known = [
        ordering.Item(text, _feature_id(state, index), numbers[index], (), 0)
        for index, text in enumerate(state["features"])
    ]
    items = [*known, *(_to_item(feature) for feature in listing.features)]
    needs = ordering.resolve_dependencies(items)
    everything = {**{int(name): indices for name, indices in state["feature_dependencies"].items()}, **needs}
    order = ordering.sort_features(len(items), everything, [item.text for item in items])
    return {
        "features": [feature.text for feature in listing.features],
        "details": _details_by_key(listing.features, first),
        "needs": _dependencies_by_key(needs),
        "order": order,
        "issues": [feature.issue for feature in listing.features],
    }


def check_order(listing: Listing) -> None:
    """Misuse when a feature of a listing that stands alone needs one that is not in it, or features need each other."""
    items = [_to_item(feature) for feature in listing.features]
    ordering.sort_features(len(items), ordering.resolve_dependencies(items), [item.text for item in items])


def require_verify_command(state: State, first: int) -> None:
    """Misuse when a feature from index `first` on asks for the evidence `verify` and no command is given for it."""
    for index in range(first, state["total_features"]):
        policy = policies.feature_policy(state, index)
        if "verify" in policy["evidence"] and not policy["verify"]:
            raise UsageError(
                f"Feature {index + 1} asks for `verify` as evidence, but no verify command is given for it. Add "
                "`verify: COMMAND` to it or to the defaults, or `--verify COMMAND`.",
                "features-yaml",
            )


def _to_item(feature: Feature) -> ordering.Item:
    details = feature.details
    return ordering.Item(feature.text, details.get("id"), feature.issue, details.get("depends_on", ()), feature.line)


def _feature_id(state: State, index: int) -> Optional[str]:
    name = state.get("details", {}).get(key(index), {}).get("id")
    return name if isinstance(name, str) else None


def _details_by_key(features: Sequence[Feature], first: int) -> State:
    return {key(index): dict(feature.details) for index, feature in enumerate(features, first) if feature.details}


def _dependencies_by_key(needs: Dict[int, List[int]]) -> State:
    return {key(index): list(indices) for index, indices in sorted(needs.items())}
