"""Read and write issues, and open pull requests, with GitHub's command line `gh`.

    view_issue(root, 72, "number,title,state")      list_issues(root, label, milestone)
    add_comment(root, 72, body)                     close_issue(root, 72)
    get_repository(root)                            get_permission(root)
    find_pull_request(root, branch)                 edit_pull_request(root, 72, body)
    create_pull_request(root, head=..., base=..., title=..., body=...)

Every call is a list of arguments, never a shell command; a body goes to standard input. gh runs in the project's root,
finds the repository by the remotes there or by GH_REPO, never prompts, and has TIMEOUT_S seconds. Failures are GhError.
"""

# Calls, JSON fields and exit statuses (1 error, 2 cancelled, 4 login needed) are from gh's manual; error messages from
# gh's source (internal/ghcmd/cmd.go, pkg/cmd/root/help.go, pkg/cmd/factory/remote_resolver.go, pkg/cmd/issue/,
# pkg/cmd/pr/) and from reports. `gh auth status` is not used: its exit status was wrong for a while (cli/cli#8845).

from __future__ import annotations

import os
import shutil
from typing import NamedTuple

from ..base import strict_json, subprocesses
from ..base.text import clean, one_line
from ..core.errors import RefusedError
from . import git_client

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Dict, List, Optional, Sequence, Tuple

TIMEOUT_S = 30
MAX_ISSUES = 1000  # more than that GitHub's search, which gh asks for labels and milestones, never gives
ISSUE_FIELDS = "number,title,body,state,url"

_VARIABLES = {
    "GH_PROMPT_DISABLED": "1", "GH_NO_UPDATE_NOTIFIER": "1", "GH_PAGER": "cat", "GH_SPINNER_DISABLED": "1",
    "NO_COLOR": "1", "LC_ALL": "C", "GIT_TERMINAL_PROMPT": "0",
}  # fmt: skip
_CLEARED_VARIABLES = (
    "GH_FORCE_TTY", "CLICOLOR_FORCE", "GH_DEBUG", "DEBUG", "GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE", "GIT_PREFIX",
)  # fmt: skip

# Kind of error, fragments of gh's messages in lower case, and our message; the first match counts. `about` is the
# subject of the call, `words` is gh's message.
_KNOWN_ERRORS: Sequence[Tuple[str, Tuple[str, ...], str]] = (
    (
        "login",
        ("to get started with github cli", "set the gh_token environment variable"),
        "gh is not logged in. Run `gh auth login` in a terminal (or set GH_TOKEN), then try again.",
    ),
    (
        "login",
        ("http 401", "bad credentials"),
        "GitHub does not accept gh's login; the token has probably expired. `gh auth status` shows which one it is, "
        "`gh auth login` renews it (or set GH_TOKEN). Then try again.",
    ),
    (
        "rate",
        ("rate limit", "submitted too quickly", "abuse detection", "http 429"),
        "GitHub's rate limit for this login is used up. `gh api rate_limit` shows when it is renewed, within the hour; "
        "try again then. gh said: {words}",
    ),
    (
        "offline",
        (
            "error connecting to", "dial tcp", "no such host", "network is unreachable", "connection refused",
            "connection reset", "i/o timeout", "handshake timeout", "proxyconnect", "deadline exceeded",
            "client.timeout",
        ),
        "GitHub cannot be reached from here. Check the connection (and https://githubstatus.com), then try "
        "again. gh said: {words}",
    ),
    (
        "server",
        ("http 500", "http 502", "http 503", "http 504"),
        "GitHub has an outage. See https://githubstatus.com and try again later. gh said: {words}",
    ),
    (
        "repository",
        ("no git remotes found", "none of the git remotes", "not a git repository"),
        "gh finds no GitHub repository for {root}. `git remote -v` shows what it has: add the remote whose issues are "
        "meant, or set GH_REPO to OWNER/NAME. gh said: {words}",
    ),
    (
        "repository",
        ("set-default",),
        "gh does not know which remote's issues are meant in {root}. Choose with `gh repo set-default`, then try "
        "again.",
    ),
    (
        "repository",
        ("could not resolve to a repository", "has disabled issues"),
        "The repository that gh finds for {root} has no issues that this login can see. Check it with `gh repo view`, "
        "and the login with `gh auth status`. gh said: {words}",
    ),
    (
        "no_issue",
        ("could not resolve to an issue",),
        "There is no {about} in the repository that gh finds here, or this login may not see it. Check the number; `gh "
        "repo view` shows which repository that is.",
    ),
    (
        "no_milestone",
        ("no milestone found", "could not resolve to a milestone"),
        "There is no {about}. List them: `gh api 'repos/{{owner}}/{{repo}}/milestones?state=all' --jq '.[] | [.number, "
        ".title]'`. A milestone that is only digits is taken for a number.",
    ),
    (
        "locked",
        ("issue is locked",),
        "The conversation of {about} is locked: GitHub takes no comment there from this login. Unlock it (`gh issue "
        "unlock`), or comment by hand.",
    ),
    (
        "exists",
        ("a pull request for branch", "a pull request already exists"),
        "There is an open pull request already ({about}). gh said: {words}",
    ),
    (
        "no_commits",
        ("no commits between", "must be on a branch named differently"),
        "There is nothing to open a pull request for ({about}): the base has all of its commits, or one of the two "
        "branches is not on the remote. gh said: {words}",
    ),
    (
        "permission",
        (
            "resource not accessible", "correct permissions", "could not close the issue", "must be a collaborator",
            "saml", "http 403",
        ),
        "This login may not do that with {about}. `gh auth status` shows the login and what its token may do; it needs "
        "to read and write issues and pull requests. gh said: {words}",
    ),
    (
        "old",
        ("unknown flag", "unknown json field", "unknown command"),
        "This gh does not know the call; it is probably too old (`gh --version`). Update it. gh said: {words}",
    ),
)  # fmt: skip


_GLOBAL_KINDS = frozenset(("missing", "timeout", "login", "rate", "offline", "server", "repository", "old"))


class GhError(RefusedError):
    """A call of gh failed.

    `kind` is `missing`, `timeout`, `login`, `rate`, `offline`, `server`, `repository`, `no_issue`, `no_milestone`,
    `locked`, `exists`, `no_commits` (of a pull request), `permission`, `old`, `answer` (invalid output), `pull_request`
    (instead of an issue) or `other`.
    """

    def __init__(self, kind: str, message: str) -> None:
        super().__init__(message, "github-cli")
        self.kind = kind

    @property
    def is_global(self) -> bool:
        """Return whether a call about another issue would fail in the same way."""
        return self.kind in _GLOBAL_KINDS


class Repository(NamedTuple):
    """A repository on GitHub: address, default branch (empty before the first push), and its git remotes here.

    The remote that gh prefers comes first.
    """

    url: str
    default_branch: str
    remotes: List[str]


def view_issue(root: str, number: int, fields: str = ISSUE_FIELDS) -> Dict[str, Any]:
    """Return the `fields` (comma-separated) of the issue or pull request of that number.

    `state` is `OPEN`, `CLOSED` or (a pull request) `MERGED`; the `url` of a pull request has `/pull/` in it, nothing
    else shows it. `comments` are all there are, each with `body`, `url` and `viewerDidAuthor`.
    """
    about = f"issue {number}"
    issue = _parse_answer(_run_gh(root, "issue", "view", str(number), "--json", fields, about=about), about)
    if not isinstance(issue, dict):
        raise _invalid_answer(about, "is no JSON object")
    return issue


def list_issues(root: str, label: Optional[str] = None, milestone: Optional[str] = None) -> List[Dict[str, Any]]:
    """Return ISSUE_FIELDS of the open issues with this label and milestone (title or number), newest first.

    At most MAX_ISSUES. An unknown label, or title of a milestone, is no error to gh: nothing has it. Newer gh ask
    GitHub's search, whose index lags: an issue closed a moment ago may be among them, with its true `state`.
    """
    filters = []
    if label is not None:
        # gh splits the value at commas, as a line of CSV
        filters.append('--label="{}"'.format(label.replace('"', '""')))
    if milestone is not None:
        filters.append(f"--milestone={milestone}")
    about = " and ".join(
        f"{what} {value!r}" for what, value in (("label", label), ("milestone", milestone)) if value is not None
    )
    limit = ("--state", "open", "--limit", str(MAX_ISSUES))
    issues = _parse_answer(_run_gh(root, "issue", "list", *filters, *limit, "--json", ISSUE_FIELDS, about=about), about)
    if not isinstance(issues, list) or not all(isinstance(entry, dict) for entry in issues):
        raise _invalid_answer(about, "is no list of JSON objects")
    return issues


def add_comment(root: str, number: int, body: str) -> str:
    """Comment on an issue. Return the address of the comment, empty when gh does not print it."""
    output = _run_gh(root, "issue", "comment", str(number), "--body-file", "-", about=f"issue {number}", text=body)
    return _clean_first_line(output)


def close_issue(root: str, number: int) -> None:
    """Close an issue as completed. A closed one stays as it is."""
    _run_gh(root, "issue", "close", str(number), "--reason", "completed", about=f"issue {number}")


def get_repository(root: str) -> Repository:
    """Return the repository that gh finds for the project, and its remotes here."""
    about = "the repository"
    repository = _parse_answer(_run_gh(root, "repo", "view", "--json", "defaultBranchRef,url", about=about), about)
    try:
        url, branch = repository["url"], (repository["defaultBranchRef"] or {"name": ""})["name"]
        if not isinstance(url, str) or not isinstance(branch, str):
            raise TypeError
    except (TypeError, KeyError, IndexError):
        raise _invalid_answer(about, "lacks its address or its default branch") from None
    return Repository(clean(url), branch, _list_remotes(root, url))


def get_permission(root: str) -> str:
    """Return the login's permission: `ADMIN`, `MAINTAIN`, `WRITE`, `TRIAGE` or `READ`; empty if GitHub does not say."""
    about = "the repository"
    repository = _parse_answer(_run_gh(root, "repo", "view", "--json", "viewerPermission", about=about), about)
    may = repository.get("viewerPermission") if isinstance(repository, dict) else None
    return may if isinstance(may, str) else ""


def find_pull_request(root: str, branch: str) -> Optional[Dict[str, Any]]:
    """Return `number`, `url` and `baseRefName` of the open pull request of `branch`, or None. Forks do not count."""
    about = f"the pull request of {branch}"
    fields = "number,url,baseRefName,isCrossRepository"
    output = _run_gh(root, "pr", "list", f"--head={branch}", "--state", "open", "--json", fields, about=about)
    pull_requests = _parse_answer(output, about)
    if not isinstance(pull_requests, list) or not all(
        isinstance(entry, dict) and isinstance(entry.get("number"), int) and isinstance(entry.get("url"), str)
        for entry in pull_requests
    ):
        raise _invalid_answer(about, "is no list of pull requests")
    return next((entry for entry in pull_requests if not entry.get("isCrossRepository")), None)


def create_pull_request(root: str, *, head: str, base: str, title: str, body: str) -> str:
    """Open a pull request of the pushed branch `head` into `base`. Return its address, empty if gh does not print it.

    Raises GhError of the kind `exists` when there is an open one.
    """
    arguments = (f"--head={head}", f"--base={base}", f"--title={title}", "--body-file", "-")
    return _clean_first_line(_run_gh(root, "pr", "create", *arguments, about=f"{head} into {base}", text=body))


def edit_pull_request(root: str, number: int, body: str) -> None:
    """Replace the body of a pull request."""
    _run_gh(root, "pr", "edit", str(number), "--body-file", "-", about=f"pull request {number}", text=body)


def _list_remotes(root: str, url: str) -> List[str]:
    """Return the names of the remotes of the repository at `url`, in gh's order of preference."""
    listed = git_client.run_git(root, "config", "-z", "--get-regexp", r"^remote\..*\.url$", check=False).stdout
    places = {}
    for entry in listed.split("\0"):
        name, _, address = entry.partition("\n")
        if address:
            places[name[len("remote.") : -len(".url")]] = _parse_remote_url(address)
    wanted = _parse_remote_url(url)
    names = [name for name, place in places.items() if place == wanted]
    # the ssh or git configuration may rename hosts
    names = names or [name for name, place in places.items() if place[1] == wanted[1]]
    return sorted(names, key=lambda name: (("upstream", "github", "origin", name).index(name), name))


def _parse_remote_url(address: str) -> Tuple[str, str]:
    """Return host and OWNER/NAME of a remote's address, in any form that git accepts."""
    scheme, _, rest = address.lower().rstrip("/").rpartition("://")
    parts = (rest if scheme else rest.replace(":", "/", 1)).split("/")
    host = parts[0].rpartition("@")[2].partition(":")[0]
    path = "/".join(parts[-2:])
    return host, path[: -len(".git")] if path.endswith(".git") else path


def get_version() -> str:
    """Return the first line of `gh --version`."""
    return _clean_first_line(_run_gh("/", "--version"))


def _run_gh(root: str, *arguments: str, about: str = "", text: Optional[str] = None) -> bytes:
    """Run gh and return its output; raise GhError if it fails. `about` is the subject of the call, for messages."""
    environment = {**os.environ, **_VARIABLES}
    for name in _CLEARED_VARIABLES:
        environment.pop(name, None)
    call = " ".join(("gh", *arguments[:2]))
    data = None if text is None else text.encode("utf-8", "replace")
    try:
        ended = subprocesses.run(
            [_find_program(), *arguments], timeout_s=TIMEOUT_S, cwd=root, env=environment, input=data
        )
    except OSError as error:
        raise GhError(
            "missing", f"`{call}` cannot be started in {root}: {error.strerror}. Check with `gh --version` there."
        ) from error
    if ended.returncode is None:
        raise GhError(
            "timeout",
            f"`{call}` did not answer within {TIMEOUT_S} s and was ended ({about}). GitHub may be slow or not "
            "reachable: see https://githubstatus.com, then try again.",
        )
    if ended.returncode != 0:
        raise classify_error(ended.returncode, ended.stderr, root=root, call=call, about=about)
    return ended.stdout


def _find_program() -> str:
    # Only from a fixed place: gh runs in the project's folder, and a relative entry of PATH would find a `gh` there.
    fixed = [entry for entry in os.environ.get("PATH", os.defpath).split(os.pathsep) if os.path.isabs(entry)]
    program = shutil.which("gh", path=os.pathsep.join(fixed)) if fixed else None
    if program is None:
        raise GhError(
            "missing",
            "gh, GitHub's command line, was not found on PATH. Install it (https://cli.github.com) and run `gh auth "
            "login`, then try again.",
        )
    return program


def classify_error(exit_status: int, errors: bytes, *, root: str, call: str, about: str) -> GhError:
    """Return the error of a failed call, by its exit status and its standard error."""
    all_words = one_line(errors.decode("utf-8", "replace"), 10_000)
    lower, words = all_words.lower(), all_words[:300]
    if exit_status == 4:  # the message differs in automation
        lower = f"to get started with github cli {lower}"
    for kind, signs, message in _KNOWN_ERRORS:
        if any(sign in lower for sign in signs):
            return GhError(kind, message.format(words=words, root=root, call=call, about=about or "it"))
    how = f"with exit status {exit_status}" if exit_status >= 0 else f"by signal {-exit_status}"
    return GhError("other", f"`{call}` ended {how} ({about}): {words or 'no output'}.")


def _parse_answer(output: bytes, about: str) -> Any:
    try:
        return strict_json.parse(output)
    except ValueError as error:
        raise _invalid_answer(about, f"is {error}") from error


def _invalid_answer(about: str, what: str) -> GhError:
    return GhError("answer", f"gh's answer about {about} {what}. Is gh up to date (`gh --version`)?")


def _clean_first_line(output: bytes) -> str:
    lines = output.decode("utf-8", "replace").strip().splitlines()
    return clean(lines[0]).strip() if lines else ""
