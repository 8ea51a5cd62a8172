"""What kind of failure an error message tells of, and how it is treated. Pure, and linear in the length of the message.

    limit, overload, network    not the feature's fault: wait; costs no attempt
    auth, permission, budget    a person must act: pause
    context                     the window was full: a fresh worker, costs no attempt
    feature                     everything else: counts an attempt and is tried again

Only the client's own words count for the first two kinds, at the beginning of the message: a test that prints `429`
is a failed test.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Sequence, Tuple

LONGEST = 2000

_BEGINNINGS: Sequence[Tuple[str, Tuple[str, ...]]] = (
    (
        "limit",
        (
            "you've hit your limit", "you\u2019ve hit your limit", "claude usage limit reached",
            "claude ai usage limit reached", "you're out of extra usage", "5-hour limit reached",
            "weekly limit reached", "api error: 429", "api error: request rejected (429)",
        ),
    ),
    ("auth", ("invalid api key", "please run /login", "api error: 401", "oauth token has expired")),
    ("budget", ("credit balance is too low", "error: reached max budget", "reached maximum budget")),
    ("permission", ("api error: 403",)),
    ("context", ("prompt is too long", "api error: 413", "context limit reached")),
    ("network", ("api error: connection", "api error: unable to connect", "api error: request timed out")),
    ("overload", ("api error",)),
)  # fmt: skip
# What anybody may begin a sentence with counts only as the whole message.
_WHOLE = {
    "connection error": "network",
    "request timed out": "network",
    "socket hang up": "network",
    "overloaded": "overload",
    "overloaded_error": "overload",
}

UNCOUNTED = ("limit", "overload", "network", "context")
NEEDS_A_PERSON = ("auth", "permission", "budget")


def classify(message: str) -> str:
    """The class of a message that ended a turn or an attempt (see the module); `feature` when nothing else fits."""
    text = " ".join(message[:LONGEST].split()).casefold()
    for name, beginnings in _BEGINNINGS:
        if text.startswith(beginnings):
            return name
    return _WHOLE.get(text.rstrip("."), "feature")
