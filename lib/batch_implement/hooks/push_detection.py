"""What a shell command published: `git push` and `gh pr create`, read off the command and its output. Pure.

    operations("git push -u origin main", output, succeeded=True)
    -> {"push": {"success": True, "remote": "origin", "branch": "main", "sha": None, "url": "...", "error": None}}

The output says more than the exit status, which is that of the whole line: `git push | tail` succeeds whatever the
remote said, `git push && make` may fail after a good push. So each push is held against what git reported of it, and
the status counts only for one of which nothing is reported.

Not recorded is what publishes no branch: a dry run, tags alone, a deletion. Of several pushes the record is one: the
last that failed, unless its branch got there later; else the last. What stands behind text that no shell can read is
not seen. Time is linear in the length of command and output.
"""

from __future__ import annotations

import re

from .command_guard.protected_paths import ANY, MAX_PATH_CHARS
from .command_guard.shell_parser import ASSIGNMENT, Shell, Unreadable, strip_keywords

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Dict, List, Optional, Set, Tuple

MAX_ERROR_CHARS = 500
MAX_LINE_CHARS = 2000  # of git's own, in characters
MAX_PUSHES = 100  # looked at in one command
_GIT_TAKES_VALUE = frozenset(("-C", "-c", "--git-dir", "--work-tree", "--namespace", "--config-env", "--attr-source"))
_PUSH_TAKES_VALUE = frozenset(("-o", "--push-option", "--receive-pack", "--exec", "--repo"))
_GH_TAKES_VALUE = frozenset((
    "-R", "--repo", "-t", "--title", "-b", "--body", "-F", "--body-file", "-B", "--base", "-H", "--head", "-a",
    "--assignee", "-l", "--label", "-m", "--milestone", "-p", "--project", "-r", "--reviewer", "-T", "--template",
    "--recover",
))  # fmt: skip
_PREFIX_PROGRAMS = frozenset(("time", "env", "command", "exec", "nohup"))
_UNKNOWN_TEXT = re.compile(f"[{ANY}*?]")  # in a word: the shell alone knew what it stood for
_RANGE = r"[0-9a-f]{4,64}\.{2,3}([0-9a-f]{4,64})"
_REF = re.compile(
    rf" {{0,3}}(?:([-+*!=t]) )? *(\[(?:new branch|new tag|new reference|deleted|tag update|up to date|rejected|"
    rf"remote rejected|remote failure|no match)\]|{_RANGE}) +(?:(\S+) -> )?(\S+)(?: \(.*\))?\s*"
)
_PORCELAIN_REF = re.compile(rf"([-+*!=t ])\t\S*:(\S+)\t(?:{_RANGE}|(\[[^\]]+\])).*")
_FAILED = re.compile(
    r"^(?:fatal: |error: (?:src refspec|dst refspec|RPC failed|remote unpack failed|unable to push)|"
    r"hint: Updates were rejected|hint: See the 'Note about fast-forwards')",
    re.MULTILINE,
)
_PULL_REQUEST = re.compile(r"https?://\S+/pull/(\d{1,18})")
_NO_PULL_REQUEST = re.compile(
    r"pull request create failed|a pull request for branch \S+ into branch \S+ already exists|"
    r"could not find any commits|must first push the current branch|gh auth login|no default remote repository|"
    r"no git remotes found"
)
_CREDENTIALS = re.compile(r"://[^/@\s]+@")


class _Push:
    """A `git push` as it was typed: `remote`, the `branches` that it names (None for one that only the shell or git
    knew), all `names` that it has for refs over there, whether it `publishes` any branch, and is `quiet`.
    """

    __slots__ = ("branches", "names", "publishes", "quiet", "remote")

    def __init__(self, words: List[str]) -> None:
        options, plain = _parse_options(words, _PUSH_TAKES_VALUE)
        letters = "".join(word[1:].partition("o")[0] for word in options if not word.startswith("--"))
        names = {word.partition("=")[0] for word in options}
        self.quiet = "q" in letters or "--quiet" in names
        self.remote = _redact(plain[0]) if plain and not _UNKNOWN_TEXT.search(plain[0]) else None
        self.branches: List[Optional[str]] = []
        self.names: Set[Optional[str]] = set()
        specs = plain[1:]
        for before, spec in zip(["", *specs], specs):
            if spec != "tag" and not spec.startswith("^"):
                self._name(spec, is_tag=before == "tag")
        nothing = names & {"--dry-run", "--delete", "--help"} or {*"ndh"} & {*letters}
        self.publishes = not nothing and bool(self.branches if specs else "--tags" not in names)

    def _name(self, spec: str, *, is_tag: bool) -> None:
        source, colon, target = spec.lstrip("+").partition(":")
        name: Optional[str] = _redact(_branch_name(target or source))
        if name in ("", "HEAD", "@") or _UNKNOWN_TEXT.search(spec):
            name = None
        self.names.add(name)
        deletes = bool(colon) and not source and bool(target)
        if not (is_tag or deletes or (name or "").startswith("refs/")):
            self.branches.append(name)

    def fits(self, report: _PushReport) -> bool:
        """Whether `report` can be of this push."""
        return not report.names or not self.names or None in self.names or bool(self.names & report.names)


class _PushReport:
    """What git said of one push to one place: its `url`, the branches as (name, commit), whether any was `refused`,
    and all `names` of refs there.
    """

    __slots__ = ("branches", "names", "refused", "refused_branch", "url")

    def __init__(self, url: Optional[str], *, refused: bool = False) -> None:
        self.url, self.refused = url, refused
        self.refused_branch: Optional[str] = None
        self.branches: List[Tuple[str, Optional[str]]] = []
        self.names: Set[Optional[str]] = set()

    def add(self, flag: Optional[str], summary: str, commit: Optional[str], target: str) -> None:
        """Take in the line of one ref."""
        name = _branch_name(target)
        self.names.add(name)
        if flag == "!":
            self.refused = True
            self.refused_branch = self.refused_branch or name
        if not (flag in ("-", "t") or summary in ("[new tag]", "[new reference]") or name.startswith("refs/")):
            self.branches.append((name, commit))


def detect_operations(command: str, output: str, *, succeeded: bool) -> Dict[str, Dict[str, Any]]:
    """The `push` and `pr` records (without time) of a command that ran with this output (standard output and error),
    as the state keeps them; empty when it published nothing. `succeeded`: its exit status was 0.
    """
    found: Dict[str, Dict[str, Any]] = {}
    pushes: List[_Push] = []
    for words in _split_commands(command):
        program = words[0].rpartition("/")[2]
        if program == "git":
            rest = _skip_git_options(words[1:])
            if rest[:1] == ["push"] and len(pushes) < MAX_PUSHES:
                pushes.append(_Push(rest[1:]))
        elif program == "gh" and _creates_pull_request(words[1:]):
            found["pr"] = _make_pull_request_record(output, succeeded)
    push = _detect_push(pushes, output, succeeded) if pushes else None
    return {"push": push, **found} if push else found


# -- the command -------------------------------------------------------------------------------------------------------


class _CommandCollector(Shell):
    """The simple commands of a shell text in `found`, each from its program on."""

    def __init__(self) -> None:
        super().__init__("/")
        self.found: List[List[str]] = []

    def handle_command(self, words: List[str], text: str = "") -> None:
        """Keep one; assignments alone are kept as variables."""
        words = strip_keywords(words)
        at = 0
        while at < len(words) and (ASSIGNMENT.fullmatch(words[at]) or words[at] in _PREFIX_PROGRAMS):
            at += 1
        if words[at:]:
            self.found.append(words[at:])
            return
        for assigned in filter(None, map(ASSIGNMENT.fullmatch, words)):
            value = (self.get_variable(assigned[1]) if assigned[2] else "") + assigned[3]
            self.variables[assigned[1]] = value if len(value) <= MAX_PATH_CHARS else ANY

    def handle_write(self, operator: str, path: str) -> None:
        """A file that is written publishes nothing."""

    def get_output(self, words: List[str], text: str) -> str:
        """What it prints is not known."""
        return ANY


def _split_commands(text: str) -> List[List[str]]:
    """The simple commands of a shell text as their words; up to what cannot be read, as a quote that does not end."""
    shell = _CommandCollector()
    try:
        shell.read_script(text)
    except Unreadable:
        pass
    return shell.found


def _skip_git_options(words: List[str]) -> List[str]:
    """What follows git's own options: the verb and its arguments."""
    at = 0
    while at < len(words) and words[at].startswith("-"):
        at += 2 if words[at] in _GIT_TAKES_VALUE else 1
    return words[at:]


def _parse_options(words: List[str], takes_value: Set[str] | frozenset[str]) -> Tuple[List[str], List[str]]:
    """The options among the words, without values of their own, and the other words."""
    options: List[str] = []
    plain: List[str] = []
    rest = iter(words)
    for word in rest:
        if word == "--":
            plain.extend(rest)
        elif not word.startswith("-") or word == "-":
            plain.append(word)
        elif word in takes_value:
            next(rest, None)
        else:
            options.append(word)
    return options, plain


def _branch_name(ref: str) -> str:
    return ref[len("refs/heads/") :] if ref.startswith("refs/heads/") else ref


# -- the output --------------------------------------------------------------------------------------------------------


def _parse_reports(output: str) -> List[_PushReport]:
    """What git said of each push, in order. What it says of a fetch looks alike, but for its first line."""
    reports: List[_PushReport] = []
    report: Optional[_PushReport] = None
    url: Optional[str] = None
    fetched = False
    for line in output.splitlines():
        if len(line) > MAX_LINE_CHARS:
            continue
        ref = _REF.fullmatch(line)
        porcelain = None if ref else _PORCELAIN_REF.fullmatch(line)
        if line.startswith("To ") and len(line) > 3:
            url, fetched, report = line[3:].strip(), False, None
        elif line.startswith("From "):
            url, fetched, report = None, True, None
        elif (ref and (ref[4] or ref[1] == "-")) or porcelain:
            if fetched:
                continue
            if report is None:
                report = _PushReport(url)
                reports.append(report)
            if ref:
                report.add(ref[1], ref[2], ref[3], ref[5])
            elif porcelain:
                report.add(porcelain[1], porcelain[4] or "", porcelain[3], porcelain[2])
        elif line.strip() == "Everything up-to-date":
            if report is None:
                reports.append(_PushReport(None))
            report = None
        elif line.startswith("error: failed to push some refs"):
            if report is None:
                reports.append(_PushReport(None, refused=True))
            else:
                report.refused = True
            report = None
        elif report is None:
            url = None  # `To push the current branch ...` is advice
    return reports


def _detect_push(pushes: List[_Push], output: str, succeeded: bool) -> Optional[Dict[str, Any]]:
    """The record of these pushes; None when none of them published a branch."""
    reports = _parse_reports(output)[: 2 * MAX_PUSHES]
    of_push = _match_reports(pushes, reports)
    records = []
    for number, push in enumerate(pushes):
        own = of_push[number]
        last = number == len(pushes) - 1
        if push.publishes and (own or not reports or (last and not succeeded)):  # else it did not run
            record = _make_push_record(push, own, output, succeeded)
            if record:
                records.append(record)
    for at in reversed(range(len(records))):
        record = records[at]
        later = [other["branch"] for other in records[at + 1 :] if other["success"]]
        mended = later and (record["branch"] in (None, *later) or None in later)
        if not record["success"] and not mended:
            return record
    return records[-1] if records else None


def _match_reports(pushes: List[_Push], reports: List[_PushReport]) -> List[List[_PushReport]]:
    """For each push the reports that are its own: in order, as far as the names fit."""
    own: List[List[_PushReport]] = [[] for _ in pushes]
    at = 0
    for report in reports:
        number = next((later for later in range(at, len(pushes)) if pushes[later].fits(report)), len(pushes) - 1)
        own[number].append(report)
        at = number + 1
    return own


def _make_push_record(
    push: _Push, reports: List[_PushReport], output: str, succeeded: bool
) -> Optional[Dict[str, Any]]:
    """The record of one push; None when git reported that no branch was in it."""
    branches = [branch for report in reports for branch in report.branches]
    refused = any(report.refused for report in reports)
    if not branches and not refused and any(report.names for report in reports):
        return None
    named = [name for name in push.branches if name]
    wanted = next((report.refused_branch for report in reports if report.refused_branch), None)
    if wanted is None:
        wanted = branches[0][0] if len({name for name, _ in branches}) == 1 else named[0] if named else None
    silent = succeeded and (push.quiet or not _FAILED.search(output))
    success = not refused if reports else silent
    return {
        "success": success,
        "remote": push.remote,
        "branch": wanted,
        "sha": next((commit for name, commit in branches if name == wanted), None) if success else None,
        "url": next((_redact(report.url) for report in reports if report.url), None),
        "error": None if success else _extract_push_error(output),
    }


def _extract_push_error(output: str) -> str:
    """What git said was wrong, before what the other side had to say of it; without either, the beginning of all."""
    lines = [line.strip() for line in output.splitlines()]
    words = [line for line in lines if line.startswith(("! ", "!\t", "error: ", "fatal: "))]
    words += [line for line in lines if line.startswith("remote: ") and words]
    return _redact("\n".join(words) or output.strip())


def _creates_pull_request(words: List[str]) -> bool:
    """Whether these words after `gh` create a pull request (and do not only show what it would be)."""
    options, plain = _parse_options(words, _GH_TAKES_VALUE)
    only_shows = any(
        word in ("--dry-run", "--web", "--help") or ({*word} <= {*"-dfewh"} and {*word} & {*"wh"}) for word in options
    )
    return plain[:1] == ["pr"] and plain[1:2] in (["create"], ["new"]) and not only_shows


def _make_pull_request_record(output: str, succeeded: bool) -> Dict[str, Any]:
    lines = [line.strip() for line in output.splitlines() if len(line) <= MAX_LINE_CHARS]
    found = [match for match in map(_PULL_REQUEST.fullmatch, lines) if match]
    wrong = _NO_PULL_REQUEST.search(output)
    success = not wrong and (bool(found) or succeeded)
    return {
        "success": success,
        "url": _redact(found[-1][0]) if found else None,
        "number": int(found[-1][1]) if found else None,
        "error": None if success else _redact(output[wrong.start() if wrong else 0 :].strip()),
    }


def _redact(text: str) -> str:
    """Text for the state: without the password of an address, and not too long."""
    return _CREDENTIALS.sub("://", text)[:MAX_ERROR_CHARS]
