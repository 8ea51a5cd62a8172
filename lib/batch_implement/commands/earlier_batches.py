"""Leave out the features that earlier batches of the project did, when a list is used again.

    source, sentences = leave_out_done(context, source)

A feature is the same as one of an archived batch, or of the one that is here, when text, section and description are;
`git.net_change` says whether what was done is still there. What is in HEAD or on an unmerged branch is left out and
named, what was reverted or is missing is done again and named. References to what is left out count as met.
"""

from __future__ import annotations

from typing import NamedTuple

from ..base.text import one_line, quote_all
from ..core import batch_state
from ..core.batch_state import key
from ..core.errors import RefusedError
from ..core.prompts import pluralize
from ..features import ordering
from ..features.feature_list import LeftOut
from ..git import net_change
from ..git.net_change import MISSING, PRESENT, REVERTED, UNMERGED
from ..report.list_reading import DONE_EARLIER
from ..store import archive

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Dict, Iterator, List, Sequence, Tuple

    from ..base.project_paths import Project
    from ..core.batch_state import State
    from ..features.feature_list import Feature, Listing
    from ..features.sources import FeatureSource
    from ..git.net_change import Presence
    from .command import CommandContext


class _Earlier(NamedTuple):
    """A feature that an earlier batch did."""

    batch_id: str
    presence: Presence


MAX_BYTES = 64 * 1024 * 1024  # of archived states that are read
SHOWN = 5


def leave_out_done(context: CommandContext, source: FeatureSource) -> Tuple[FeatureSource, List[str]]:
    """Return the source without the features that earlier batches did, and sentences about these for `create`.

    The sentences are in the notes of the listing too. Raises RefusedError when no feature is left, or when one needs
    another that is only on an unmerged branch.
    """
    project, listing = context.project, source.listing
    if project.git_dir is None:
        return source, []
    notes: List[str] = []
    earlier = _find_earlier(project, context.read_state_if_usable(), listing, notes)
    left_out = {index: one for index, one in earlier.items() if one.presence.status in (PRESENT, UNMERGED)}
    notes += _describe_left_out(listing, left_out) + _describe_again(listing, earlier)
    if len(left_out) == len(listing.features):
        raise RefusedError(f"Nothing to do: {_describe_all(left_out)}. {_ANYWAY}", "done-earlier")
    if left_out:
        listing = _without(listing, left_out)
    return source._replace(listing=listing._replace(notes=[*listing.notes, *notes])), notes


_ANYWAY = "`batchctl add` does a feature again."


def _find_earlier(project: Project, current: State | None, listing: Listing, notes: List[str]) -> Dict[int, _Earlier]:
    """Return by index the features of the listing that earlier batches did, with their presence in HEAD."""
    wanted = {
        batch_state.identify_feature(feature.text, feature.details): index
        for index, feature in enumerate(listing.features)
    }
    skipped: List[str] = []
    done: Dict[int, List[Tuple[str, Sequence[str]]]] = {}
    for state in [*([current] if current else []), *archive.read_newest(project, MAX_BYTES, skipped)]:
        for identity, commits in _iter_completed(state):
            if identity in wanted:
                done.setdefault(wanted[identity], []).append((state["batch_id"], commits))
    if skipped:
        count = "1 archived batch" if len(skipped) == 1 else f"{len(skipped)} archived batches"
        notes.append(
            f"{count} in {project.private}/archive not compared with the list: damaged, or beyond 64 MB in all."
        )
    entries = [(index, batch_id, commits) for index, batches in done.items() for batch_id, commits in batches]
    presences = net_change.find_presence(project.root, [commits for _, _, commits in entries]) if entries else []
    best: Dict[int, _Earlier] = {}
    for (index, batch_id, _), presence in zip(entries, presences):
        known = best.get(index)
        is_better = known is None or presence.status == PRESENT or known.presence.status == MISSING
        if is_better and not (known and known.presence.status == PRESENT):
            best[index] = _Earlier(batch_id, presence)
    return best


def _iter_completed(state: State) -> Iterator[Tuple[object, Sequence[str]]]:
    """Yield each completed feature of a state as it was archived, by its identity, with its commits.

    A feature for which neither commits nor a reason why it needs none are recorded is left out: nothing shows that it
    is there.
    """
    try:
        for index in state["completed_features"]:
            evidence = state["evidence"].get(key(index), {})
            commits = net_change.list_commits(evidence)
            if commits or "no_change" in evidence:
                details = state.get("details", {}).get(key(index), {})
                yield batch_state.identify_feature(state["features"][index], details), commits
    except (AttributeError, IndexError, KeyError, TypeError):
        return  # not a state of this version


def _describe_left_out(listing: Listing, left_out: Dict[int, _Earlier]) -> List[str]:
    """Return a sentence for each batch whose features are left out, and for each branch that is not merged."""
    by_batch: Dict[str, List[int]] = {}
    by_branch: Dict[Tuple[str, str], List[int]] = {}
    for index, (batch_id, presence) in left_out.items():
        if presence.status == PRESENT:
            by_batch.setdefault(batch_id, []).append(index)
        else:
            by_branch.setdefault((presence.branch, presence.command), []).append(index)
    sentences = [
        f"{pluralize(len(indices), 'feature')} done in batch {batch_id} left out."
        for batch_id, indices in by_batch.items()
    ]
    for (branch, command), indices in by_branch.items():
        are = "is" if len(indices) == 1 else "are"
        shown = quote_all([listing.features[index].text for index in indices], SHOWN)
        sentences.append(
            f"{pluralize(len(indices), 'feature')} left out {are} done on branch {branch}, which is not merged: "
            f"{shown}. `{command}` merges {'it' if len(indices) == 1 else 'them'}."
        )
    return [*sentences[:-1], f"{sentences[-1]} {_ANYWAY}"] if sentences else []


def _describe_again(listing: Listing, earlier: Dict[int, _Earlier]) -> List[str]:
    """Return a sentence for each kind of feature that is done again."""
    sentences = []
    reasons = {REVERTED: "reverted since", MISSING: "which is no longer in HEAD nor on a branch"}
    for status, reason in reasons.items():
        by_batch: Dict[str, List[int]] = {}
        for index, (batch_id, presence) in earlier.items():
            if presence.status == status:
                by_batch.setdefault(batch_id, []).append(index)
        for batch_id, indices in by_batch.items():
            commands = list(dict.fromkeys(earlier[index].presence.command for index in indices))
            instead = f" Instead, `{commands[0]}` brings it back." if len(commands) == 1 and commands[0] else ""
            subject = pluralize(len(indices), "feature")
            shown = quote_all([listing.features[index].text for index in indices], SHOWN)
            sentences.append(f"{subject} of batch {batch_id}, {reason}, will be done again: {shown}.{instead}")
    return sentences


def _describe_all(left_out: Dict[int, _Earlier]) -> str:
    batches = list(dict.fromkeys(one.batch_id for one in left_out.values()))
    where = f"batch {batches[0]}" if len(batches) == 1 else f"batches {', '.join(batches[:SHOWN])}"
    subject = "the feature is" if len(left_out) == 1 else f"all {len(left_out)} features are"
    commands = dict.fromkeys(one.presence.command for one in left_out.values() if one.presence.status == UNMERGED)
    unmerged = sum(one.presence.status == UNMERGED for one in left_out.values())
    merge = " and ".join(f"`{command}`" for command in commands)
    return f"{subject} done in {where}" + (f"; {unmerged} of them not merged yet: {merge}" if unmerged else "")


def _without(listing: Listing, left_out: Dict[int, _Earlier]) -> Listing:
    """Return the listing without these features. Raises RefusedError when another one needs what is not merged."""
    features = listing.features
    needs = ordering.resolve_dependencies(features, listing.resolved)
    kept = [index for index in range(len(features)) if index not in left_out]
    places = {index: place for place, index in enumerate(kept)}
    resolved: Dict[Tuple[int, str], Sequence[int]] = {}
    for index in kept:
        for need in needs.get(index, ()):
            if need in left_out and left_out[need].presence.status == UNMERGED:
                raise _unmerged_need_error(features[index], features[need], left_out[need].presence)
        # The first reference stands for all that the feature needs: numbers in the list mean other features now.
        all_needs: Any = [places[need] for need in needs.get(index, ()) if need in places]
        for reference in features[index].details.get("depends_on", ()):
            resolved[places[index], reference.strip()] = all_needs
            all_needs = ()
    return listing._replace(
        features=[features[index] for index in kept],
        left_out=[
            *listing.left_out,
            *(
                LeftOut(features[index].line, features[index].text, f"{DONE_EARLIER}{one.batch_id}")
                for index, one in left_out.items()
            ),
        ],
        resolved=resolved,
    )


def _unmerged_need_error(feature: Feature, need: Feature, presence: Presence) -> RefusedError:
    return RefusedError(
        f"Feature {one_line(feature.text, 60)!r} needs {one_line(need.text, 60)!r}, which is done on branch "
        f"{presence.branch} and not in HEAD. Merge it first: `{presence.command}`.",
        "done-earlier",
    )
