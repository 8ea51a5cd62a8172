"""Turn a list of features into a batch, or into additions to one: order, dependencies, details. Pure.

    state = build_first_state(batch_id, now, listing, options, ...)     a first version, not written yet
    additions = build_additions(state, listing)                         the arguments of `transitions.add`

Texts, ids, issue numbers and indices are joined here: a feature's index is its place in the listing. Raises
DependencyError for references and cycles.
"""

from __future__ import annotations

from ..core import batch_policy, batch_state
from ..core.batch_state import key
from ..core.errors import UsageError
from . import ordering
from .feature_list import Feature

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Dict, Iterable, List, Sequence

    from ..core.batch_state import State
    from .feature_list import Listing


def build_first_state(
    batch_id: str,
    now: str,
    listing: Listing,
    options: State,
    *,
    features_file: str,
    infer_order: bool = False,
    untracked: Iterable[str] = (),
) -> State:
    """Return the first version of a batch over a listing.

    `options` are by the names of the policy, and `workflow_mode`; the listing's defaults apply where they are silent.
    With `infer_order` hints count as dependencies.
    """
    features, texts = listing.features, [feature.text for feature in listing.features]
    explicit_needs = ordering.resolve_dependencies(features, listing.resolved)
    bodies = [str(feature.details.get("description", "")) for feature in features]
    hints = ordering.find_hints(features, bodies, listing.resolved)
    needs = ordering.add_hints(explicit_needs, hints) if infer_order else explicit_needs
    order = ordering.sort_features(len(features), needs, texts)
    issues = [feature.issue for feature in features if feature.issue is not None]
    state = batch_state.new_state(
        batch_id,
        texts,
        now,
        features_file=features_file,
        source_type="issues" if issues else "file",
        issue_numbers=issues or None,
        policy=batch_policy.combine_policy(listing.defaults, options),
        workflow_mode=options.get("workflow_mode")
        or listing.defaults.get("workflow_mode")
        or batch_policy.WORKFLOW_MODES[0],
        untracked=untracked,
        details=_details_by_key(features, 0),
        order=order,
        needs=_dependencies_by_key(needs),
        analysis=ordering.build_analysis(explicit_needs, order, hints, taken=infer_order),
    )
    require_verify_command(state, 0)
    return state


def build_additions(state: State, listing: Listing) -> Dict[str, Any]:
    """Return the features of a listing as additions to a batch: `{features, details, needs, order, issues}`.

    Numbers that the features refer to are those of `status`, the new features counted on.
    """
    first = state["total_features"]
    numbers = state.get("issue_numbers") or [None] * first
    known = [
        Feature(text, 0, _id_details(state, index), numbers[index]) for index, text in enumerate(state["features"])
    ]
    features = [*known, *listing.features]
    # A number means a feature as `status` numbers it, not a box of the list that is added.
    resolved = {
        (first + index, reference): [first + other for other in wanted]
        for (index, reference), wanted in listing.resolved.items()
        if not reference.isdigit()
    }
    needs = ordering.resolve_dependencies(features, resolved)
    all_needs = {**{int(name): indices for name, indices in state["feature_dependencies"].items()}, **needs}
    order = ordering.sort_features(len(features), all_needs, [feature.text for feature in features])
    return {
        "features": [feature.text for feature in listing.features],
        "details": _details_by_key(listing.features, first),
        "needs": _dependencies_by_key(needs),
        "order": order,
        "issues": [feature.issue for feature in listing.features],
    }


def check_order(listing: Listing) -> None:
    """Raise DependencyError if a feature of a listing needs one that is not in it, or features need each other."""
    features = listing.features
    needs = ordering.resolve_dependencies(features, listing.resolved)
    ordering.sort_features(len(features), needs, [feature.text for feature in features])


def require_verify_command(state: State, first: int) -> None:
    """Raise UsageError if a feature from index `first` on needs the evidence `verify` but has no command for it."""
    for index in range(first, state["total_features"]):
        policy = batch_policy.feature_policy(state, index)
        if "verify" in policy["evidence"] and not policy["verify"]:
            raise UsageError(
                f"Feature {index + 1} asks for `verify` as evidence, but no verify command is given for it. Add "
                "`verify: COMMAND` to the feature or the defaults, or pass `--verify COMMAND`.",
                "features-yaml",
            )


def _id_details(state: State, index: int) -> Dict[str, Any]:
    identifier = state.get("details", {}).get(key(index), {}).get("id")
    return {"id": identifier} if isinstance(identifier, str) else {}


def _details_by_key(features: Sequence[Feature], first: int) -> State:
    return {key(index): dict(feature.details) for index, feature in enumerate(features, first) if feature.details}


def _dependencies_by_key(needs: Dict[int, List[int]]) -> State:
    return {key(index): list(indices) for index, indices in sorted(needs.items())}
