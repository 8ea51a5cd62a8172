"""Detect what a shell command published (`git push`, `gh pr create`) from the command and its output.

    detect_operations("git push -u origin main", output, succeeded=True)
    -> {"push": {"success": True, "remote": "origin", "branch": "main", "sha": None, "url": "...", "error": None}}

The output says more than the exit status of the whole line: `git push | tail` succeeds whatever the remote said, and
`git push && make` may fail after a good push. So each push is matched with what git reported of it; the exit status
counts only for a push without a report.

Not recorded: a push of no branch (a dry run, tags alone, a deletion). Of several pushes one is recorded: the last that
failed, unless its branch was pushed later; else the last. Commands after text that no shell can parse are missed. Time
is linear in the length of command and output.
"""

from __future__ import annotations

import re

from .shell_parser import ANY, ASSIGNMENT, Shell, Unreadable, skip_git_options, split_options, strip_keywords

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Dict, List, Optional, Set, Tuple

    Record = Dict[str, Any]

MAX_ERROR_CHARS = 500
MAX_LINE_CHARS = 2000
MAX_PUSHES = 100  # in one command
# Options that take the next word.
_PUSH_VALUED = "-o --push-option --receive-pack --exec --repo"
_GH_VALUED = (
    "-R --repo -t --title -b --body -F --body-file -B --base -H --head -a --assignee -l --label -m --milestone "
    "-p --project -r --reviewer -T --template --recover"
)
_PREFIX_PROGRAMS = frozenset(("time", "env", "command", "exec", "nohup"))
_UNKNOWN_TEXT = re.compile(f"[{ANY}*?]")  # what only the shell could expand
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


def detect_operations(command: str, output: str, *, succeeded: bool) -> Dict[str, Record]:
    """Return the `push` and `pr` records of a command, without time, as the state keeps them; empty if there are none.

    `output` is standard output and error together; `succeeded` tells whether the exit status was 0.
    """
    pushes: List[_Push] = []
    operations: Dict[str, Record] = {}
    for program, arguments in _split_commands(command):
        if program == "git":
            arguments = skip_git_options(arguments)
            if arguments[:1] == ["push"] and len(pushes) < MAX_PUSHES:
                pushes.append(_Push(arguments[1:]))
        elif program == "gh" and _creates_pull_request(arguments):
            operations["pr"] = _make_pull_request_record(output, succeeded)
    push = _choose_push_record(pushes, output, succeeded) if pushes else None
    return {"push": push, **operations} if push else operations


# -- the command -------------------------------------------------------------------------------------------------------


class _CommandCollector(Shell):
    """Collect the simple commands of a script as (program, arguments)."""

    def __init__(self) -> None:
        super().__init__("/")
        self.commands: List[Tuple[str, List[str]]] = []

    def run_command(self, words: List[str], text: str) -> str:
        """Keep a command; of assignments alone keep the variables."""
        words = strip_keywords(words)
        start = 0
        while start < len(words) and (ASSIGNMENT.fullmatch(words[start]) or words[start] in _PREFIX_PROGRAMS):
            start += 1
        if words[start:]:
            self.commands.append((words[start].rpartition("/")[2], words[start + 1 :]))
            return ANY
        for assignment in filter(None, map(ASSIGNMENT.fullmatch, words)):
            self.assign(assignment)
        return ANY


def _split_commands(script: str) -> List[Tuple[str, List[str]]]:
    """Return the commands of a shell text, up to what cannot be parsed."""
    collector = _CommandCollector()
    try:
        collector.read_script(script)
    except (Unreadable, RecursionError):
        pass
    return collector.commands


class _Push:
    """A `git push` as typed.

    `branches` and `names` are the branches and all refs of the remote that it names, None for one that only the shell
    or git knew. `publishes`: it pushes any branch. `quiet`: git reports nothing of a success.
    """

    def __init__(self, arguments: List[str]) -> None:
        options, operands = split_options(arguments, _PUSH_VALUED)
        letters = {*"".join(word[1:].partition("o")[0] for word in options if not word.startswith("--"))}
        long_options = {word.partition("=")[0] for word in options}
        self.quiet = "q" in letters or "--quiet" in long_options
        self.remote = _redact(operands[0]) if operands and not _UNKNOWN_TEXT.search(operands[0]) else None
        self.branches: List[Optional[str]] = []
        self.names: Set[Optional[str]] = set()
        refspecs = operands[1:]
        for previous, refspec in zip(["", *refspecs], refspecs):
            if refspec != "tag" and not refspec.startswith("^"):
                self._add_refspec(refspec, is_tag=previous == "tag")
        is_without_effect = long_options & {"--dry-run", "--delete", "--help"} or letters & {*"ndh"}
        self.publishes = not is_without_effect and bool(self.branches if refspecs else "--tags" not in long_options)

    def _add_refspec(self, refspec: str, *, is_tag: bool) -> None:
        source, colon, target = refspec.lstrip("+").partition(":")
        name: Optional[str] = _redact(_branch_name(target or source))
        if name in ("", "HEAD", "@") or _UNKNOWN_TEXT.search(refspec):
            name = None
        self.names.add(name)
        is_deletion = bool(colon) and not source and bool(target)
        if not (is_tag or is_deletion or (name or "").startswith("refs/")):
            self.branches.append(name)

    def can_match(self, report: _PushReport) -> bool:
        return not report.names or not self.names or None in self.names or bool(self.names & report.names)


def _branch_name(ref: str) -> str:
    return ref[len("refs/heads/") :] if ref.startswith("refs/heads/") else ref


# -- the output --------------------------------------------------------------------------------------------------------


class _PushReport:
    """What git printed of one push to one `url`: the branches as (name, commit), all `names` of refs, and whether any
    was `refused`.
    """

    def __init__(self, url: Optional[str], *, refused: bool = False) -> None:
        self.url, self.refused = url, refused
        self.refused_branch: Optional[str] = None
        self.branches: List[Tuple[str, Optional[str]]] = []
        self.names: Set[Optional[str]] = set()

    def add_ref(self, flag: Optional[str], summary: str, commit: Optional[str], target: str) -> None:
        name = _branch_name(target)
        self.names.add(name)
        if flag == "!":
            self.refused = True
            self.refused_branch = self.refused_branch or name
        if not (flag in ("-", "t") or summary in ("[new tag]", "[new reference]") or name.startswith("refs/")):
            self.branches.append((name, commit))


def _parse_ref_line(line: str) -> Optional[Tuple[Optional[str], str, Optional[str], str]]:
    """Return flag, summary, commit and target of git's line about one ref; None for another line."""
    ref = _REF.fullmatch(line)
    if ref:
        return (ref[1], ref[2], ref[3], ref[5]) if ref[4] or ref[1] == "-" else None
    ref = _PORCELAIN_REF.fullmatch(line)
    return (ref[1], ref[4] or "", ref[3], ref[2]) if ref else None


def _parse_reports(output: str) -> List[_PushReport]:
    """Return what git reported of each push, in order."""
    reports: List[_PushReport] = []
    report: Optional[_PushReport] = None  # the one that is being read
    url: Optional[str] = None
    is_fetch = False  # a fetch prints the same lines after `From URL`
    for line in output.splitlines():
        if len(line) > MAX_LINE_CHARS:
            continue
        ref = _parse_ref_line(line)
        if line.startswith("To ") and len(line) > 3:
            url, is_fetch, report = line[3:].strip(), False, None
        elif line.startswith("From "):
            url, is_fetch, report = None, True, None
        elif ref and not is_fetch:
            if report is None:
                report = _PushReport(url)
                reports.append(report)
            report.add_ref(*ref)
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
        elif report is None and not ref:
            url = None  # `To push the current branch ...` is advice
    return reports


def _choose_push_record(pushes: List[_Push], output: str, succeeded: bool) -> Optional[Record]:
    """Return the record of the push that tells most; None if none of them pushed a branch."""
    reports = _parse_reports(output)[: 2 * MAX_PUSHES]
    matched = _match_reports(pushes, reports)
    records = []
    for push, own_reports in zip(pushes, matched):
        # Without a report of its own a push did not run, or it was the last one and failed before it could report.
        has_run = own_reports or not reports or (push is pushes[-1] and not succeeded)
        record = _make_push_record(push, own_reports, output, succeeded) if push.publishes and has_run else None
        if record:
            records.append(record)
    pushed_later: List[Optional[str]] = []
    for record in reversed(records):
        if record["success"]:
            pushed_later.append(record["branch"])
        elif not pushed_later or not (record["branch"] in (None, *pushed_later) or None in pushed_later):
            return record
    return records[-1] if records else None


def _match_reports(pushes: List[_Push], reports: List[_PushReport]) -> List[List[_PushReport]]:
    """Return for each push its reports: in order, as far as the names match."""
    matched: List[List[_PushReport]] = [[] for _ in pushes]
    start = 0
    for report in reports:
        candidates = (number for number in range(start, len(pushes)) if pushes[number].can_match(report))
        number = next(candidates, len(pushes) - 1)
        matched[number].append(report)
        start = number + 1
    return matched


def _make_push_record(push: _Push, reports: List[_PushReport], output: str, succeeded: bool) -> Optional[Record]:
    """Return the record of one push; None if git reported no branch."""
    branches = [branch for report in reports for branch in report.branches]
    refused = any(report.refused for report in reports)
    if not branches and not refused and any(report.names for report in reports):
        return None
    name = next((report.refused_branch for report in reports if report.refused_branch), None)
    if name is None and len({branch for branch, _ in branches}) == 1:
        name = branches[0][0]
    elif name is None:
        name = next(filter(None, push.branches), None)
    success = not refused if reports else succeeded and (push.quiet or not _FAILED.search(output))
    return {
        "success": success,
        "remote": push.remote,
        "branch": name,
        "sha": next((commit for branch, commit in branches if branch == name), None) if success else None,
        "url": next((_redact(report.url) for report in reports if report.url), None),
        "error": None if success else extract_push_error(output),
    }


def extract_push_error(output: str) -> str:
    """Return git's error lines, then what the remote said after them; else the start of the output."""
    lines = [line.strip() for line in output.splitlines()]
    errors = [line for line in lines if line.startswith(("! ", "!\t", "error: ", "fatal: "))]
    errors += [line for line in lines if line.startswith("remote: ") and errors]
    return _redact("\n".join(errors) or output.strip())


def _creates_pull_request(arguments: List[str]) -> bool:
    """Return whether `gh` with these arguments creates a pull request, and does not only show what it would be."""
    options, operands = split_options(arguments, _GH_VALUED)
    only_shows = any(
        word in ("--dry-run", "--web", "--help") or ({*word} <= {*"-dfewh"} and {*word} & {*"wh"}) for word in options
    )
    return operands[:1] == ["pr"] and operands[1:2] in (["create"], ["new"]) and not only_shows


def _make_pull_request_record(output: str, succeeded: bool) -> Record:
    lines = [line.strip() for line in output.splitlines() if len(line) <= MAX_LINE_CHARS]
    links = [match for match in map(_PULL_REQUEST.fullmatch, lines) if match]
    failure = _NO_PULL_REQUEST.search(output)
    success = not failure and (bool(links) or succeeded)
    return {
        "success": success,
        "url": _redact(links[-1][0]) if links else None,
        "number": int(links[-1][1]) if links else None,
        "error": None if success else _redact(output[failure.start() if failure else 0 :].strip()),
    }


def _redact(text: str) -> str:
    """Return text for the state: without the password in a URL, and at most MAX_ERROR_CHARS."""
    return _CREDENTIALS.sub("://", text)[:MAX_ERROR_CHARS]
