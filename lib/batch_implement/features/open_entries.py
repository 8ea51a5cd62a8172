"""Count the entries of a list of which some are done: how many are open, and which number means which. Pure."""

from __future__ import annotations

from .feature_list import FeatureListError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Dict, List, Optional, Sequence

    from .feature_list import Feature


def count_open(is_open: Sequence[bool]) -> str:
    """Return how many entries are open, in words."""
    return f"{sum(is_open):,} open of {len(is_open):,}"


def nothing_open_error(name: str, count: int) -> FeatureListError:
    """Return the error for a list of so many entries of which none is open."""
    what = "its only entry is" if count == 1 else f"all {count:,} entries are"
    return FeatureListError(
        f"no open features: {what} marked as done or cancelled. Add what is still to do.", "features-file", name
    )


def number_open_features(features: Sequence[Feature], is_open: Sequence[bool]) -> List[Feature]:
    """Return open features whose numbers in `depends_on`, which count all entries, count the open ones instead.

    `is_open` has a value for each entry in order. What needs an entry that is done needs it no more.
    """
    if all(is_open):
        return list(features)
    numbers: Dict[str, Optional[str]] = {}
    count = 0
    for position, open_here in enumerate(is_open, start=1):
        count += open_here
        numbers[str(position)] = str(count) if open_here else None
    renumbered = []
    for feature in features:
        details = dict(feature.details)
        if "depends_on" in details:
            references = [numbers.get(each, each) for each in details.pop("depends_on")]
            needed = [each for each in references if each is not None]
            details.update({"depends_on": needed} if needed else {})
        renumbered.append(feature._replace(details=details))
    return renumbered
