"""What kind of failure an error message tells of, and how it is treated. Pure, and linear in the length of the message.

    limit, overload, network    not the feature's fault: wait; costs no attempt
    auth, permission, budget    a person must act: pause
    context                     the window was full: a fresh worker, costs no attempt
    feature                     everything else: counts an attempt and is tried again

Only the client's own words count for the first two kinds, at the beginning of the message: a test that prints `429` is a failed test.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Sequence, Tuple

LONGEST = 2000

_BEGINNINGS: Sequence[Tuple[str, Sequence[str]]] = (
    (
        "limit",
        (
            "you've hit your", "you\u2019ve hit your", "claude usage limit reached", "claude ai usage limit reached",
            "you're out of extra usage", "5-hour limit reached", "weekly limit reached", "api error: 429",
            "api error: request rejected (429)",
        ),
    ),
    ("auth", ("invalid api key", "please run /login", "api error: 401", "oauth token", "failed to authenticate")),
    ("budget", ("credit balance is too low", "error: reached max budget", "reached maximum budget")),
    ("permission", ("api error: 403",)),
    ("context", ("prompt is too long", "api error: 413", "context low")),
    ("overload", ("api error: 529", "api error: 5", "api error: repeated 529", "overloaded")),
    ("network", ("connection error", "api error: connection", "api error: unable to connect", "request timed out", "socket hang up")),
    ("overload", ("api error",)),
)  # fmt: skip

UNCOUNTED = ("limit", "overload", "network", "context")
NEEDS_A_PERSON = ("auth", "permission", "budget")


def classify(message: str) -> str:
    """The class of a message that ended a turn or an attempt (see the module); `feature` when nothing else fits."""
    text = " ".join(message[:LONGEST].split()).casefold()
    for name, beginnings in _BEGINNINGS:
        if text.startswith(tuple(beginnings)):
            return name
    return "feature"
