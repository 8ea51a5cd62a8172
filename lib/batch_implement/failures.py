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


# What an error is called, in Python and elsewhere, when the same attempt may succeed later; and when it will not.
_PASSING_NAMES = frozenset((
    "connectionerror", "connectionreseterror", "connectionrefusederror", "connectionabortederror", "brokenpipeerror",
    "timeouterror", "timeout", "readtimeout", "connecttimeout", "ratelimiterror", "networkerror", "overloadederror",
    "apiconnectionerror", "apitimeouterror", "serviceunavailableerror", "temporaryfailure", "incompleteread",
))  # fmt: skip
_LASTING_NAMES = frozenset((
    "assertionerror", "syntaxerror", "indentationerror", "taberror", "importerror", "modulenotfounderror",
    "typeerror", "valueerror", "nameerror", "unboundlocalerror", "attributeerror", "lookuperror", "keyerror",
    "indexerror", "filenotfounderror", "permissionerror", "zerodivisionerror", "notimplementederror",
    "recursionerror", "unicodedecodeerror", "unicodeencodeerror", "referenceerror", "jsondecodeerror",
))  # fmt: skip
_PASSING_WORDS = (
    "could not resolve host", "temporary failure", "eai_again", "getaddrinfo enotfound", "econnreset",
    "econnrefused", "etimedout", "socket hang up", "connection reset", "connection refused", "connection closed by",
    "timed out", "network is unreachable", "network unreachable", "handshake timeout", "too many requests",
    "rate limit exceeded", "secondary rate limit", "rate_limit_error", "overloaded_error", "service unavailable",
    "bad gateway", "gateway timeout", "gateway time-out", "usage limit reached", "index.lock': file exists",
    "another git process seems to be running", "the remote end hung up", "early eof", "temporarily unavailable",
)  # fmt: skip
_ERROR_LINE = r"\s*(?:E\s+)?(?:[A-Za-z_]\w*\.)*([A-Za-z_]\w*)\s*(?::|$)"
_OF_A_TEST = r"\s*(?:FAILED\b|E\s{2}|>?\s*assert\b)"
_STATUS = r"\b(?:http\w*|status|code|returned)\W[^\d\n]{0,20}\b(?:429|502|503|504|529)\b"


def passing(message: str) -> bool:
    """Whether a message, of any program, tells of something that passes by itself: trying again later makes sense.

    The last line that begins with an error's name decides; without a telling name the words do, but not in what a
    failed test printed. What is unknown does not pass.
    """
    import re

    kind = classify(message)
    if kind in UNCOUNTED or kind in NEEDS_A_PERSON:
        return kind in UNCOUNTED
    text = message if len(message) <= 2 * LONGEST else f"{message[:LONGEST]}\n{message[-LONGEST:]}"
    lines = text.splitlines()
    for line in reversed(lines):
        named = re.match(_ERROR_LINE, line)
        name = named[1].casefold() if named else ""
        if name in _PASSING_NAMES or name in _LASTING_NAMES:
            return name in _PASSING_NAMES
    if any(re.match(_OF_A_TEST, line) for line in lines):
        return False
    words = " ".join(text.split()).casefold()
    return any(phrase in words for phrase in _PASSING_WORDS) or re.search(_STATUS, words) is not None
