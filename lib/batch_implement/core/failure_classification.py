"""Classify failure messages and choose a treatment. Pure, and linear in the length of the message.

    class       treatment
    limit       wait    a usage limit of the subscription or of an API, which may say when it ends (reset_time)
    overload    wait    an overloaded or temporarily broken service (500, 502, 503, 504, 529)
    network     wait    no connection, an unresolved name, a connection timeout
    busy        wait    held by another process: git's index.lock, apt's lock, a busy file
    context     retry   the conversation is full or broken: a new worker resumes
    auth        pause   authentication failed: not logged in, a refused key, an untrusted certificate
    permission  pause   not allowed: 403, a protected branch, the client's permission rules, root required
    budget      pause   no credit left, or a budget of the user is used up
    disk        pause   no space left, over quota, a read-only file system
    refusal     fail    the API will refuse the same request again (400, usage policy)
    feature     retry   everything else: failing tests, errors in the code, missing commands

`wait`: repeat later. `retry`: another attempt. `pause`: the user must act. `fail`: repeating is useless.

    classify(message)           the end of a turn: only the client's own words at the beginning count
    classify_report(message)    the report of a worker, or the output of a program

Output of tests does not count: `assert 429 == 200` is a failed test. In doubt the class is `feature`, which costs an
attempt; a wrong `wait` waits for nothing and a wrong `pause` alerts the user. So a local service that does not answer,
and a file that is not writable, are `feature`.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from datetime import datetime, tzinfo
    from typing import Mapping, Optional, Sequence, Tuple

    Phrases = Sequence[Tuple[str, Tuple[str, ...]]]

MAX_CHARS = 2000  # of a message that are read: the first of a turn's end, the first and the last of a report
MAX_LEAD_CHARS = 400  # within which the client names the failure

_CLASSES = (  # class, treatment, whether a worker that ends so uses no attempt
    ("limit", "wait", True),
    ("overload", "wait", True),
    ("network", "wait", True),
    ("busy", "wait", True),
    ("context", "retry", True),
    ("auth", "pause", False),
    ("permission", "pause", False),
    ("budget", "pause", False),
    ("disk", "pause", False),
    ("refusal", "fail", False),
    ("feature", "retry", False),
)
TREATMENT: Mapping[str, str] = {name: treatment for name, treatment, _ in _CLASSES}
"""Class -> `wait`, `retry`, `pause` or `fail`."""
UNCOUNTED = tuple(name for name, _, uncounted in _CLASSES if uncounted)
NEEDS_USER = tuple(name for name, treatment, _ in _CLASSES if treatment == "pause")

# -- the client's own words -------------------------------------------------------------------------------------------

# The message up to its first ` · `, `|` or end of a sentence: as a prefix these words would be too common.
_CLASS_BY_SUBJECT = {
    "connection error": "network", "request timed out": "network", "socket hang up": "network",
    "overloaded": "overload", "overloaded_error": "overload", "prompt is too long": "context",
    "5-hour limit reached": "limit", "weekly limit reached": "limit", "session limit reached": "limit",
    "opus limit reached": "limit", "opus weekly limit reached": "limit", "context limit reached": "context",
    "please run /login": "auth", "oauth token revoked": "auth", "oauth token has expired": "auth",
    "invalid api key": "auth", "invalid auth token": "auth", "credit balance is too low": "budget",
}  # fmt: skip
_CLIENT_PREFIXES: Phrases = (
    ("limit", ("claude usage limit reached", "claude ai usage limit reached")),
    ("overload", ("opus is experiencing high load", "fable is experiencing high load")),
    ("network", ("authentication error \u00b7 this may be a temporary",)),
    ("busy", ("could not refresh your login because another", "failed to refresh oauth token: another")),
    ("context", ("request too large (max", "an image in the conversation exceeds the dimension limit")),
    ("disk", ("could not refresh your login: the disk", "failed to refresh oauth token: the disk")),
    ("permission", (
        "failed to authenticate. api error: 403", "there's an issue with the selected model (",
        "your anthropic_api_key belongs to a disabled org", "your organization has disabled ",
        "your usage allocation has been disabled", "your seat type doesn't include ", "this service is disabled for ",
        "usage is paused for your organization", "claude opus is not available with the claude pro plan",
    )),
    ("auth", (
        "not logged in \u00b7", "login expired \u00b7", "login reached its time limit \u00b7",
        "authentication required \u00b7", "your apikeyhelper script is failing \u00b7",
        "failed to authenticate. api error", "failed to authenticate: oauth", "failed to authenticate: this login",
        "failed to authenticate: your claude", "failed to refresh oauth token", "could not refresh your login: ",
    )),
    ("budget", ("error: reached max budget", "error: exceeded usd budget", "reached maximum budget (")),
    ("refusal", ("claude code is unable to respond to this request",)),
)  # fmt: skip
_LIMIT_PREFIXES = (
    "you've hit your ",
    "you've reached your ",
    "you're out of ",
    "your org is out of ",
    "your group's usage ",
)
_BUDGET_WORDS = ("spend limit", "credits", "extra usage", "out of usage", "admin", "budget", "set to $0")

# Words after `API Error:` decide before its status does.
_API_PHRASES: Phrases = (
    ("context", (
        "prompt is too long", "exceed context limit", "context window limit", "tool use concurrency",
        "tool_result in conversation", "duplicate tool_use id", "output token maximum", "too many total text bytes",
    )),
    ("limit", ("specified api usage limits", "rate_limit_error", "rate limit reached", "request rejected (429)")),
    ("budget", ("credit balance is too low", "usage credits r")),
    ("refusal", ("usage policy", "content filtering policy", "safeguards flagged", "can't help with this")),
    ("auth", ("ssl certificate", "ssl error", "self-signed certificate", "could not load ")),
    ("disk", ("enospc", "no space left on device")),
    ("overload", ("temporarily limiting requests", "overloaded")),
)  # fmt: skip
_CLASS_BY_HTTP_STATUS = {
    401: "auth", 402: "budget", 403: "permission", 404: "permission", 408: "network", 409: "overload", 413: "context",
    429: "limit",
}  # fmt: skip
_CONNECTION_PREFIXES = (
    "connection", "unable to connect", "request timed out", "can't reach", "no internet route", "no response from api",
    "couldn't connect", "stream idle timeout",
)  # fmt: skip


def classify(message: str) -> str:
    """Return the class of a message that ended a turn, by the client's own words at its beginning; else `feature`."""
    text = " ".join(message[:MAX_CHARS].split()).casefold().replace("\u2019", "'").replace("\u2219", "\u00b7")
    if text == "api error" or text.startswith(("api error:", "api error (")):
        return _classify_api_error(text[len("api error:") :].lstrip(" ("))
    lead = subject = text[:MAX_LEAD_CHARS]
    for end in (" \u00b7", "|", ". "):
        subject = subject.partition(end)[0]
    subject = subject.rstrip(".")
    if subject in _CLASS_BY_SUBJECT:
        return _CLASS_BY_SUBJECT[subject]
    if subject.startswith(_LIMIT_PREFIXES) and any(word in subject for word in (" limit", " budget", " usage")):
        return "budget" if "reset" not in lead and any(word in lead for word in _BUDGET_WORDS) else "limit"
    if subject.endswith(" requires usage credits"):
        return "budget"
    return next((name for name, beginnings in _CLIENT_PREFIXES if lead.startswith(beginnings)), "feature")


def _classify_api_error(words: str) -> str:
    name = next((name for name, phrases in _API_PHRASES if any(phrase in words for phrase in phrases)), "")
    if name:
        return name
    if words[:3].isdecimal():
        return classify_http_status(int(words[:3]))
    return "network" if words.startswith(_CONNECTION_PREFIXES) else "overload"


def classify_http_status(status: int) -> str:
    """Return the class of an error with this status of the API."""
    return _CLASS_BY_HTTP_STATUS.get(status, "refusal" if 400 <= status < 500 else "overload")


# -- output of programs -----------------------------------------------------------------------------------------------

# Regular expressions for one line, ignoring case. The first class that matches is the class of the line.
_LINE_PATTERNS: Phrases = (
    ("feature", (
        r"\bGH001\b", "Push cannot contain secrets", "number of file watchers reached", r"\d ?ms exceeded",
        r"\bCommand\b.{0,200} timed out", r"error TS\d+:", r"error\[E\d+\]", r"^CONFLICT \(", "^Automatic merge failed",
        r"cannot lock ref .{1,200}' exists; cannot create",
        "^ERROR: (?:Failed building|Cannot install|ResolutionImpossible)", "^error: subprocess-exited-with-error",
        r"^npm (?:ERR!|error) (?:Missing script|code E(?:404|RESOLVE|ACCES|NOENT|LIFECYCLE|INTEGRITY)\b)",
        r"^(?:npm (?:ERR!|error) )?address: '(?:127\.|::1)",
    )),
    ("budget", (
        "credit balance is too low to access", r"\binsufficient_quota\b", r"\bbilling_error\b",
        "payments have failed or your spending limit", "Exceeded USD budget", r"Reached maximum budget \(",
    )),
    ("limit", (
        "API rate limit (?:already )?exceeded for ", "exceeded a secondary rate limit", r"\brate_limit_error\b",
        r"\btoomanyrequests:", "URL returned error: 429", r"\(HTTP 429\)", r"^(?:\S+: )?HTTP(?: Error)? 429\b",
        r"^(?:\w+\.)*RateLimitError\b", "^npm (?:ERR!|error) code E429", "specified API usage limits",
        "Claude (?:AI )?usage limit reached",
    )),
    ("context", (r"prompt is too long: \d+ tokens", "exceed context limit: ")),
    ("disk", (
        r"(?:: |\] )(?:No space left on device|Disk quota exceeded|Read-only file system)",
        r"\b(?:ENOSPC|EDQUOT|EROFS)(?:: |')", r"database or disk is full", "You don't have enough free space in",
    )),
    ("refusal", (r"\binvalid_request_error\b", "appears to violate our Usage Policy", "by content filtering policy")),
    ("busy", (
        r"\.lock'?: File exists", "Another git process seems to be running",
        "could not lock config file .{1,200}exists", r"cannot lock ref .{1,200} is at [0-9a-f]+ but expected",
        "Could not get lock /", "is another process using it", "locked by another process",
        r"(?:: |\] |\()(?:\d+: )?Resource temporarily unavailable",
        r"(?:: |\] )(?:Text file busy|Device or resource busy)", r"\b(?:EBUSY|ELOCKED)\b", "acquiring the state lock",
        r"^BlockingIOError\b",
    )),
    ("auth", (
        r"Permission denied \((?:publickey|password|keyboard)", "Authentication failed for '",
        "could not read (?:Username|Password) for", "Invalid username or (?:password|token)",
        "Host key verification failed", "Support for password authentication was removed", r"\(HTTP 401\)",
        "HTTP 401: ", "run:? +`?gh auth login", "populate the GH_TOKEN",
        r"^npm (?:ERR!|error) code (?:E401|ENEEDAUTH|EOTP)\b", r"\bauthentication_error\b", "invalid x-api-key",
        "URL returned error: 401", "ERR_PNPM_FETCH_401", r"\b401 Client Error: ",
        "unauthorized: authentication required", "no basic auth credentials", "gpg failed to sign the data",
        "certificate verif(?:y|ication) failed", "SSL certificate problem",
        r"\b(?:CERTIFICATE_VERIFY_FAILED|SELF_SIGNED_CERT|UNABLE_TO_(?:GET|VERIFY)_)",
    )),
    ("permission", (
        r"Permission to \S+ denied to ", "URL returned error: 403", r"\b(?:GH006|GH013)\b",
        "protected branch hook declined", "Resource not accessible by", r"\(HTTP 403\)", "HTTP(?: Error)? 403: ",
        r"^npm (?:ERR!|error) code E403\b", r"\b403 Client Error: ", r"\bpermission_error\b",
        "You are not allowed to (?:force )?push", r"\((?:deletion prohibited|branch is currently checked out)\)",
        "refusing to allow an? .{1,80} to create or update workflow", "does not have the correct permissions to",
        "(?:ERROR|remote): Repository not found", "Could not resolve to a Repository", "ERR_PNPM_FETCH_403",
        "Claude requested permissions to ", "This command requires approval",
        r"Permission to (?:use|read|edit) .{1,200} (?:has been denied|denied by)",
        "doesn't want to proceed with this tool", "Permission for this action (?:was|has been) denied",
        r"are you root\?", "requires superuser privilege", "sudo: a (?:password|terminal) is required",
        "permission denied while trying to connect to the Docker daemon", "detected dubious ownership in repository",
    )),
    ("overload", (
        r"\b(?:overloaded|api)_error\b", r"ERR_PNPM_FETCH_5\d\d", r"URL returned error: (?:50[0234]|529)",
        r"RPC failed; HTTP 5\d\d", r"\(HTTP 50[0234]\)", r"^npm (?:ERR!|error) code E5\d\d",
        r"^(?:\S+: )?HTTP(?: Error)? (?:50[0234]|529)\b", "^remote: Internal Server Error",
        r"^(?:\w+\.)*(?:Overloaded|ServiceUnavailable)Error\b",
    )),
    ("network", (
        "Could not resolve host", "Temporary failure (?:in name resolution|resolving)", "Name or service not known",
        "errno=Connection (?:timed out|refused)", "nodename nor servname provided",
        r"\b(?:ENOTFOUND|EAI_AGAIN|ECONNRESET|ETIMEDOUT|ECONNREFUSED|ENETUNREACH)\b", r"\bEHOSTUNREACH\b",
        "dial tcp: lookup ", r"RPC failed; curl \d", "disconnect while reading sideband packet",
        "TLS handshake timeout", r"\bi/o timeout\b", "network timeout at: ", "^error connecting to ", "socket hang up",
        "SSL_ERROR_SYSCALL", "kex_exchange_identification", r"^npm (?:ERR!|error) network\b",
        r"^(?:\w+\.)*(?:(?:API)?Connection(?:Reset|Refused|Aborted)?|BrokenPipe|Network)Error\s*(?::|$)",
        r"^(?:\w+\.)*(?:(?:API|Read|Connect)?Timeout(?:Error)?|IncompleteRead|TemporaryFailure)\s*(?::|$)",
    )),
)  # fmt: skip
# Common words: they count only on a line with the prefix of a program (`ssh: ...`, `curl: (28) ...`).
_PROGRAM_LINE_PATTERNS: Phrases = (
    ("limit", (r"\b429 Too Many Requests", "API rate limit (?:already )?exceeded", r"429 Client Error: ")),
    ("overload", (r"\b50[234]:?(?: Server Error:)? (?:Bad Gateway|Service .{0,12}Unavailable|Gateway Time-?out)",)),
    ("network", (
        r"(?:connection|connect|request|operation|read|handshake)\b.{0,40} timed out", "connection refused",
        "connection (?:was )?(?:aborted|closed by|reset by)", "Failed to connect to ", "Network is unreachable",
        "No route to host", "Recv failure", "Empty reply from server", "Failed to establish a new connection",
    )),
)  # fmt: skip
_PROGRAM_PREFIX = (
    r"(?:[\d-]+[ T][\d:.,]+Z? )?(?:npm (?:ERR!|error|warn)\b|curl: \(|Error response from daemon|HTTP[ /]\d|ERROR \d"
    r"|\[ERROR\]|(?:[a-z][\w.@/+-]*|[\w.]*(?:Error|Exception|Timeout)|ERROR|GraphQL|E|W):(?:\s|$))"
)
# Lines beside the cause: they count when no other line matches.
_FALLBACK_PATTERNS: Phrases = (
    ("network", ("^WARNING: Retrying ", "remote end hung up", "^fatal: early EOF")),
    ("permission", ("hook declined", "due to repository rule violations", "Could not read from remote repository")),
)
_SERVICE_CLASSES = ("limit", "overload", "network", "auth", "permission")
_LOCAL_ADDRESS = (
    r"(?!.* lookup ).*(?:\blocalhost\b|\b127\.0\.0\.1\b|\b0\.0\.0\.0\b|\[::1\]"
    r"|host name \"[\w-]+\" to address|getaddrinfo (?:ENOTFOUND|EAI_AGAIN) [\w-]+(?![\w.-]))"
)

# The beginning of a test runner's line, and words about tests and about how a program should behave.
_TEST_LINE = (
    r"E {2,}|(?:FAILED|FAIL)\b|--- FAIL|ERROR:? (?:test|setUp|\S+::|\S+\.py\b)|>?\s*assert\b|not ok \d|# fail [1-9]"
    r"|[\u25cf\u2715\u2717\u00d7] |=* ?\d+ (?:failed|failing)\b|Tests?(?: Suites| Files)?:?\s+\d+ failed"
    r"|test result: FAILED|\S+\.py:\d+: (?:error\b|[\w.]*(?:Error|Exception|Failed)\b)|\d+ examples?, [1-9]"
    r"|thread '.{0,200}panicked at|(?:Expected|Received|expected|actual): |Failure/Error: "
)
_BEHAVIOUR_LINE = (
    r"(?i)(?<![\w/-])(?:assert|mock|simulat|expect(?:s|ed|ing|\()(?! [0-9a-f]{7})|handl(?:e[ds]?|ing)\b|toBe\b)"
    r"|\.py::| (?:===?|!==?) |DID NOT RAISE|\bshould (?:be|have|return|raise|throw|say|show|not|answer|give)\b"
    r"|\btest(?:s|_\w+)? .{0,60}\b(?:fail|error|times out|timed|print|report|say|check|cover|pass)"
)
_CODE_ERROR = (  # names of errors in the code, as in `json.decoder.JSONDecodeError: ...`
    r"(?:\w+\.)*(?:(?:Assertion|Syntax|Indentation|Tab|Import|ModuleNotFound|Type|Value|Name|UnboundLocal|Attribute"
    r"|Lookup|Key|Index|FileNotFound|Permission|ZeroDivision|NotImplemented|Recursion|Unicode(?:De|En)code|Reference"
    r"|JSONDecode)Error|TimeoutExpired)\s*(?::|$)"
)


def classify_report(message: str) -> str:
    """Return the class of a worker's report or a program's output.

    The client's own words at the beginning decide, else the last line with a class (lines of failed tests and names of
    errors have one, `feature`), else `feature`.
    """
    name = classify(message)
    if name != "feature":
        return name
    lines = [line.strip() for line in reversed(_head_and_tail(message).splitlines())]
    matches = (_classify_line(line) for line in lines)
    fallbacks = (_first_match(_FALLBACK_PATTERNS, line) for line in lines)
    return next((name for names in (matches, fallbacks) for name in names if name), "feature")


def is_transient(message: str) -> bool:
    """Return whether a report describes a failure that is treated by waiting."""
    return TREATMENT[classify_report(message)] == "wait"


def _head_and_tail(message: str) -> str:
    """Return the beginning and the end of a message, without colour codes."""
    import re

    text = message if len(message) <= 2 * MAX_CHARS else f"{message[:MAX_CHARS]}\n{message[-MAX_CHARS:]}"
    return re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", text)


def _classify_line(line: str) -> str:
    """Return the class of one line of a report, or an empty text."""
    import re

    name = classify(line)
    if name != "feature":
        return name
    if re.match(_TEST_LINE, line) or re.match(_CODE_ERROR, line):
        return "feature"
    if re.search(_BEHAVIOUR_LINE, line):
        return ""
    name = _first_match(_LINE_PATTERNS, line) or (
        _first_match(_PROGRAM_LINE_PATTERNS, line) if re.match(_PROGRAM_PREFIX, line) else ""
    )
    return "feature" if name in _SERVICE_CLASSES and re.match(_LOCAL_ADDRESS, line) else name


def _first_match(phrases: Phrases, line: str) -> str:
    import re

    return next((name for name, patterns in phrases if re.search("|".join(patterns), line, re.IGNORECASE)), "")


# -- when to retry -----------------------------------------------------------------------------------------------------

FIRST_BACKOFF_S = 30.0
MAX_BACKOFF_S = 1800.0
MAX_DOUBLINGS = 6  # enough to exceed MAX_BACKOFF_S
MAX_RESET_DISTANCE_S = 45 * 86400.0  # limits end within a month
MAX_READ_DELAY_S = 600.0  # so long after it, a time of day still means today: messages are read late

_RESET_PATTERN = (
    r"(?i)\|(?P<epoch_s>\d{10})(?:\d{3})?\b|\bregain access on (?P<utc>\d{4}-\d\d-\d\d at \d\d:\d\d) UTC"
    r"|\bresets? (?:at |on )?(?:(?P<month>[a-z]{3})[a-z]* (?P<day>\d{1,2}),? (?:(?P<year>\d{4}),? )?(?:at )?)?"
    r"(?P<hour>\d{1,2})(?::(?P<minute>\d\d))? ?(?P<half>[ap]m)? ?\((?P<zone>[a-z][\w+/-]{0,60})\)"
)
_MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")


def backoff_s(attempt: int, jitter: float) -> float:
    """Return the seconds to wait after attempt `attempt` (from 1): 30, doubled each time, at most 1,800.

    `jitter` in [0, 1) spreads this over 50 to 100 %. Raise ValueError for other numbers.
    """
    if attempt < 1 or not 0 <= jitter < 1:
        raise ValueError(f"backoff_s({attempt}, {jitter}): attempts count from 1, jitter is at least 0 and below 1.")
    longest = min(MAX_BACKOFF_S, FIRST_BACKOFF_S * 2.0 ** min(attempt - 1, MAX_DOUBLINGS))
    return longest * (0.5 + jitter / 2)


def reset_time(message: str, now: str) -> Optional[str]:
    """Return when the limit in a report ends, as `2026-01-31T23:59:59Z`, the form of `now`; the first of several.

    It may be in the past. A time of day is the next one, or one of the last ten minutes. Return None if the message is
    not about a limit or the time is uncertain: without a time zone, in an unknown zone, too far away.
    """
    import re
    from datetime import datetime, timezone

    if classify_report(message) != "limit":
        return None
    at = datetime.strptime(now, "%Y-%m-%dT%H:%M:%SZ").replace(tzinfo=timezone.utc)
    matches = re.finditer(_RESET_PATTERN, " ".join(_head_and_tail(message).split()))
    moments = [moment for moment in (_reset_moment(match.groupdict(), at) for match in matches) if moment]
    near = [moment for moment in moments if abs((moment - at).total_seconds()) <= MAX_RESET_DISTANCE_S]
    return min(near).astimezone(timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ") if near else None


def _reset_moment(fields: Mapping[str, Optional[str]], now: datetime) -> Optional[datetime]:
    """Return the moment that a match of _RESET_PATTERN names, or None if there is no such moment or time zone."""
    from datetime import datetime, timedelta, timezone

    try:
        if fields["epoch_s"]:
            return datetime.fromtimestamp(int(fields["epoch_s"]), timezone.utc)
        if fields["utc"]:
            return datetime.strptime(fields["utc"], "%Y-%m-%d at %H:%M").replace(tzinfo=timezone.utc)
        hour, half, minute = int(fields["hour"] or 0), (fields["half"] or "").lower(), fields["minute"]
        if not (half or minute) or (half and not 1 <= hour <= 12):
            return None
        hour = hour % 12 + 12 * (half == "pm") if half else hour
        local = now.astimezone(_time_zone(fields["zone"] or "")).replace(hour=hour, minute=int(minute or 0), second=0)
        if fields["month"]:
            month, day = 1 + _MONTHS.index(fields["month"].lower()), int(fields["day"] or 0)
            years = (int(fields["year"]),) if fields["year"] else (local.year, local.year + 1)
            times = [local.replace(year=year, month=month, day=day) for year in years]
        else:
            times = [local + timedelta(days=days) for days in (-1, 0, 1)]
    except (ValueError, LookupError, ImportError, OSError):  # the last three come from the zone
        return None
    return next((time for time in times if (time - now).total_seconds() >= -MAX_READ_DELAY_S), None)


def _time_zone(name: str) -> tzinfo:
    if name.upper() in ("UTC", "GMT", "ETC/UTC"):  # needs no time zone file
        from datetime import timezone

        return timezone.utc
    from zoneinfo import ZoneInfo

    return ZoneInfo(name)
