"""Reviews of the open feature's attempt, and what they say of a change. Pure.

    state = begin(state, now, agent, commit, change)    a reviewer starts to look at a commit
    state = end(state, agent, text, change)             it ended with this text
    state = drop(state, agent)                          it died without a text
    judge(active, change)                               what the attempt's reviews say of a change
    describe(evidence)                                  `good`, `fix` or `not reviewed`, for status and report

A review is bound to its attempt, because `active.reviews` goes with it, and to a *change*: a text that names what the
attempt's own commits change in sum, from `commands.reviews`. The change that a reviewer had when it began counts. When
another one is there at the review's end, nobody knows what was looked at, and the review counts for none.
"""

from __future__ import annotations

from . import batch_state

TYPE_CHECKING = False  # importing `typing` costs a hook more than its work
if TYPE_CHECKING:
    from typing import List, Mapping, Optional

    from .batch_state import State

GOOD, FIX, NOT_REVIEWED = "good", "fix", "not reviewed"
MAX_REVIEWS = 3  # that ended, in an attempt of a batch that requires reviews
MAX_KEPT = 10
MAX_TEXT_CHARS = 2000
_FIRST_LINES = {"VERDICT: good": GOOD, "VERDICT: fix": FIX}


def parse_verdict(text: Optional[str]) -> Optional[str]:
    """Return GOOD or FIX if the first line of a review says so; else None.

    Markdown's emphasis and heading marks and a final full stop do not matter, other words do.
    """
    line = (text or "").split("\n", 1)[0]
    for mark in "*_`":
        line = line.replace(mark, "")
    line = line.strip().lstrip("# ")
    return _FIRST_LINES.get(line[:-1] if line.endswith(".") else line)


def describe(evidence: Mapping[str, object]) -> str:
    """Return the verdict on what a feature was completed with: GOOD, FIX or NOT_REVIEWED."""
    text = evidence.get("review")
    return parse_verdict(text if isinstance(text, str) else None) or NOT_REVIEWED


def begin(state: State, now: str, agent: str, commit: Optional[str], change: str) -> State:
    """Record that the reviewer `agent` begins to look at `change`, with HEAD at `commit`; unchanged if none is open."""
    active = state["active"]
    if not active:
        return state
    entry = {"agent": agent, "commit": commit, "change": change, "started_at": now, "text": None}
    known = [each for each in active.get("reviews", ()) if each["agent"] != agent or each["text"] is not None]
    return {**state, "active": {**active, "reviews": [*known, entry][-MAX_KEPT:]}}


def end(state: State, agent: str, text: str, change: Optional[str]) -> State:
    """Record the text of the review that `agent` began in this attempt; unchanged if it began none.

    `change` is the one at its end, None if it could not be determined.
    """
    active = state["active"]
    reviews: List[State] = list(active.get("reviews", ())) if active else []
    for number, review in enumerate(reviews):
        if review["agent"] == agent and review["text"] is None:
            reviews[number] = {**review, "text": text[:MAX_TEXT_CHARS]}
            if review["change"] != change:
                reviews[number]["moved"] = True
            return {**state, "active": {**active, "reviews": reviews}}
    return state


def drop(state: State, agent: str) -> State:
    """Forget the review that `agent` began in this attempt and will not end; unchanged if there is none."""
    active = state["active"]
    known = active.get("reviews", ()) if active else ()
    left = [review for review in known if review["agent"] != agent or review["text"] is not None]
    return state if len(left) == len(known) else {**state, "active": {**active, "reviews": left}}


def list_ended(active: State) -> List[State]:
    """Return the reviews of an attempt that ended, oldest first."""
    return [review for review in active.get("reviews", ()) if review["text"] is not None]


def find_review(active: State, change: str) -> Optional[State]:
    """Return the review that counts for `change`: the last one that says `fix`, else the last one; None without any.

    A `fix` stays with its change: another look at the same commits does not replace it.
    """
    reviews = [each for each in list_ended(active) if each["change"] == change and not each.get("moved")]
    fixes = [each for each in reviews if parse_verdict(each["text"]) == FIX]
    return fixes[-1] if fixes else reviews[-1] if reviews else None


def judge(active: State, change: str) -> Optional[str]:
    """Return what the attempt's reviews say of `change`: GOOD, FIX or None."""
    review = find_review(active, change)
    return parse_verdict(review["text"]) if review else None


def is_exhausted(active: State) -> bool:
    """Return whether the attempt has had all reviews that it may have."""
    return len(list_ended(active)) >= MAX_REVIEWS


def requires_review(state: State) -> bool:
    """Return whether `done` requires a review of the open feature."""
    from . import batch_policy

    index = batch_state.active_index(state)
    return index is not None and "review" in batch_policy.feature_policy(state, index)["evidence"]
