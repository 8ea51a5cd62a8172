"""What the stand-in for gh does: the calls of `planning/gh.py`, answered as the real one answers them.

Its GitHub is one JSON file, named by GH_STAND_IN; each call is a line in the file of that name with `.calls` behind it:
`{"arguments", "input", "cwd", "environment"}` (of the environment what steers gh). The file holds

    url, default_branch   of the repository; `"issues_enabled": false` switches its issues off
    permission            what the login may do there (ADMIN when it is not said)
    git                   path of a bare repository that holds its branches, where that matters
    pulls                 number (text) -> title, body, head, base, state (OPEN, CLOSED, MERGED), from_fork
    viewer                login of whoever calls
    milestones            number (text) -> title
    issues                number (text) -> title, body, state (OPEN, CLOSED), labels (names), milestone (title), locked,
                          pull_request, index_lags (listed as open even if it is not), comments ({author, body, url})
    trouble               what goes wrong: `issue comment 72`, `issue comment` or `*` -> a name in TROUBLES, `hang`, or
                          `lost: NAME` (it is done, and then that is said); a list is used up, one a call

Without any of that it looks at the folder's git remotes as gh does. Words and exit statuses are the real ones: from
gh's source (internal/ghcmd/cmd.go, pkg/cmd/root/help.go, pkg/cmd/factory/remote_resolver.go, pkg/cmd/issue/*,
pkg/cmd/pr/*, pkg/cmdutil/json_flags.go, api/queries_comments.go) and its manual; what GitHub says, from reports of it.
"""

from __future__ import annotations

import csv
import fcntl
import json
import os
import subprocess
import sys
import time
from typing import Any, NoReturn

VERSION = "gh version 2.63.2 (2024-12-05)\nhttps://github.com/cli/cli/releases/tag/v2.63.2\n"
ISSUE_FIELDS = (
    "assignees", "author", "body", "closed", "closedAt", "closedByPullRequestsReferences", "comments", "createdAt",
    "id", "isPinned", "labels", "milestone", "number", "projectCards", "projectItems", "reactionGroups", "state",
    "stateReason", "title", "updatedAt", "url",
)  # fmt: skip
REPOSITORY_FIELDS = (
    "defaultBranchRef", "description", "isFork", "name", "nameWithOwner", "owner", "url", "viewerPermission",
)  # fmt: skip
PULL_FIELDS = (
    "baseRefName", "body", "headRefName", "headRefOid", "isCrossRepository", "isDraft", "number", "state", "title",
    "url",
)  # fmt: skip
LONGEST_TITLE = 256
STEERING = (
    "GH_PROMPT_DISABLED", "GH_NO_UPDATE_NOTIFIER", "GH_PAGER", "GH_FORCE_TTY", "GH_DEBUG", "NO_COLOR",
    "CLICOLOR_FORCE", "GIT_DIR", "LC_ALL",
)  # fmt: skip
LONGEST_BODY = 65_536

LOGGED_OUT = (
    "To get started with GitHub CLI, please run:  gh auth login\n"
    "Alternatively, populate the GH_TOKEN environment variable with a GitHub API authentication token.\n"
)
LOGGED_OUT_IN_CI = "gh: To use GitHub CLI in automation, set the GH_TOKEN environment variable.\n"
API = "(https://api.github.com/graphql)"
TROUBLES = {
    "logged out": (4, LOGGED_OUT),
    "token expired": (1, f"HTTP 401: Bad credentials {API}\nTry authenticating with:  gh auth login\n"),
    "rate limited": (1, "GraphQL: API rate limit exceeded for user ID 1234567.\n"),
    "rate limited already": (1, "GraphQL: API rate limit already exceeded for user ID 1234567.\n"),
    "rate limited by REST": (1, f"HTTP 403: API rate limit exceeded for user ID 1234567. {API}\n"),
    "rate limited for a while": (
        1,
        f"HTTP 403: You have exceeded a secondary rate limit. Please wait a few minutes before you try again. {API}\n",
    ),
    "too quick": (1, "GraphQL: was submitted too quickly (addComment)\n"),
    "offline": (
        1,
        "error connecting to api.github.com\ncheck your internet connection or https://githubstatus.com\n",
    ),
    "connection refused": (
        1,
        'Post "https://api.github.com/graphql": dial tcp 140.82.121.6:443: connect: connection refused\n',
    ),
    "connection slow": (1, 'Post "https://api.github.com/graphql": net/http: TLS handshake timeout\n'),
    "bad gateway": (1, f"HTTP 502: Bad Gateway {API}\n"),
    "no such repository": (1, "GraphQL: Could not resolve to a Repository with the name 'acme/gone'. (repository)\n"),
    "many remotes": (
        1,
        "X No default remote repository has been set for this directory.\n\n"
        "please run `gh repo set-default` to select a default remote repository.\n",
    ),
    "token too weak": (1, "GraphQL: Resource not accessible by personal access token (addComment)\n"),
    "may not close": (
        1,
        "GraphQL: octocat does not have the correct permissions to execute `CloseIssue` (closeIssue)\n",
    ),
    "may not open": (
        1,
        "pull request create failed: GraphQL: Resource not accessible by personal access token (createPullRequest)\n",
    ),
    "no collaborator": (
        1,
        "pull request create failed: GraphQL: octocat must be a collaborator (createPullRequest)\n",
    ),
    "too old": (1, "unknown flag: --json\n\nUsage:  gh issue view {<number> | <url>} [flags]\n\n"),
    "cancelled": (2, "\n"),
    "something else": (1, "GraphQL: Something went wrong while executing your query.\n"),
    "silent": (1, ""),
    "garbled": (0, "<html>not what was asked for</html>\n"),
}


class Failure(Exception):
    """gh ends with this status, these words on standard error."""

    def __init__(self, status: int, words: str) -> None:
        super().__init__(words)
        self.status, self.words = status, words


def main(arguments: list[str]) -> int:
    """Run one call; the exit status."""
    path = os.environ["GH_STAND_IN"]
    body = sys.stdin.read() if "-" in arguments else None
    _record(path, arguments, body)
    try:
        if arguments == ["--version"]:
            sys.stdout.write(VERSION)
            return 0
        with open(f"{path}.lock", "w", encoding="utf-8") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            with open(path, encoding="utf-8") as file:
                github = json.load(file)
            name = _trouble(github, arguments)
            if name is not None:
                _write(path, github)  # a list was used up
            if name is not None and name != "hang" and not name.startswith("lost: "):
                _say(name)
            if name != "hang":
                said = _command(github, arguments)(github, arguments[2:], body)
                _write(path, github)
        if name == "hang":
            time.sleep(60)
        elif name is not None:
            _say(name[len("lost: ") :])
        sys.stdout.write(said)
        return 0
    except Failure as failure:
        (sys.stdout if failure.status == 0 else sys.stderr).write(failure.words)
        return failure.status


def _record(path: str, arguments: list[str], body: str | None) -> None:
    steering = {name: os.environ[name] for name in STEERING if name in os.environ}
    call = {"arguments": arguments, "input": body, "cwd": os.getcwd(), "environment": steering}
    with open(f"{path}.calls", "a", encoding="utf-8") as file:
        file.write(json.dumps(call) + "\n")


def _write(path: str, github: dict[str, Any]) -> None:
    with open(f"{path}.new", "w", encoding="utf-8") as file:
        json.dump(github, file, indent=1)
    os.replace(f"{path}.new", path)


def _trouble(github: dict[str, Any], arguments: list[str]) -> str | None:
    known = github.get("trouble", {})
    for key in (" ".join(arguments[:3]), " ".join(arguments[:2]), "*"):
        named = known.get(key)
        if isinstance(named, list):
            named = named.pop(0) if named else None
        if named is not None:
            return str(named)
    return None


def _say(name: str) -> NoReturn:
    if name == "logged out" and os.environ.get("CI"):
        raise Failure(4, LOGGED_OUT_IN_CI)
    raise Failure(*TROUBLES[name])


def _command(github: dict[str, Any], arguments: list[str]) -> Any:
    commands = {
        ("issue", "view"): _view, ("issue", "list"): _list, ("issue", "comment"): _comment, ("issue", "close"): _close,
        ("repo", "view"): _repository, ("pr", "list"): _pulls, ("pr", "create"): _create, ("pr", "edit"): _edit,
    }  # fmt: skip
    command = commands.get(tuple(arguments[:2]))
    if command is None:
        shown = " ".join(arguments[:1]) or ""
        raise Failure(1, f'unknown command "{shown}" for "gh"\n\nUsage:  gh <command> <subcommand> [flags]\n\n')
    return command


# -- the commands ------------------------------------------------------------------------------------------------------


def _view(github: dict[str, Any], words: list[str], body: str | None) -> str:
    given, flags = _parsed("issue view {<number> | <url>}", words, ("json",), 1)
    fields = _fields(flags, ISSUE_FIELDS)
    _find_repository(github)
    return _json(_exported(github, *_issue(github, given[0]), fields))


def _list(github: dict[str, Any], words: list[str], body: str | None) -> str:
    _, flags = _parsed("issue list", words, ("label", "milestone", "state", "limit", "json"), 0)
    fields = _fields(flags, ISSUE_FIELDS)
    _find_repository(github)
    _refuse_switched_off(github)
    labels = [label.lower() for value in flags.get("label", []) for label in next(csv.reader([value], strict=True))]
    milestone = flags.get("milestone", [None])[-1]
    if milestone is not None and milestone.lstrip("-").isdecimal():
        if milestone not in github.get("milestones", {}):
            raise Failure(1, f"no milestone found with number '{milestone}'\n")
        milestone = github["milestones"][milestone]
    state = flags.get("state", ["open"])[-1]
    found = []
    for number, issue in sorted(github["issues"].items(), key=lambda item: -int(item[0])):
        has = {label.lower() for label in issue.get("labels", [])}
        if issue.get("pull_request") or not has.issuperset(labels):
            continue
        if milestone is not None and (issue.get("milestone") or "").lower() != milestone.lower():
            continue
        if state in ("all", issue["state"].lower()) or issue.get("index_lags"):
            found.append(_exported(github, number, issue, fields))
    return _json(found[: int(flags.get("limit", ["30"])[-1])])


def _comment(github: dict[str, Any], words: list[str], body: str | None) -> str:
    given, flags = _parsed("issue comment {<number> | <url>}", words, ("body", "body-file"), 1)
    if flags.get("body-file") == ["-"]:
        text = body or ""
    elif "body" in flags:
        text = flags["body"][-1]
    else:
        raise Failure(1, "flags required when not running interactively\n\nUsage:  gh issue comment [flags]\n\n")
    _find_repository(github)
    number, issue = _issue(github, given[0])
    if issue.get("locked"):
        raise Failure(1, "GraphQL: Unable to create comment because issue is locked (addComment)\n")
    if not text.strip():
        raise Failure(1, "GraphQL: Body cannot be blank (addComment)\n")
    if len(text) > LONGEST_BODY:
        raise Failure(1, f"GraphQL: Body is too long (maximum is {LONGEST_BODY} characters) (addComment)\n")
    known = issue.setdefault("comments", [])
    ids = sum(len(other.get("comments", [])) for other in github["issues"].values())
    url = f"{_address(github, number, issue)}#issuecomment-{5_000_000 + ids}"
    known.append({"author": github["viewer"], "body": text, "url": url})
    return f"{url}\n"


def _close(github: dict[str, Any], words: list[str], body: str | None) -> str:
    given, flags = _parsed("issue close {<number> | <url>}", words, ("comment", "reason"), 1)
    reason = flags.get("reason", ["completed"])[-1]
    if reason not in ("completed", "not planned"):
        raise Failure(
            1, f'invalid argument "{reason}" for "-r, --reason" flag: valid values are {{completed|not planned}}\n'
        )
    _find_repository(github)
    number, issue = _issue(github, given[0])
    named = f"{_name(github['url'])}#{number} ({issue['title']})"
    if issue["state"] == "CLOSED":
        sys.stderr.write(f"! Issue {named} is already closed\n")
    else:
        issue.update(state="CLOSED", stateReason=reason.upper().replace(" ", "_"))
        sys.stderr.write(f"\u2713 Closed issue {named}\n")
    return ""


def _pulls(github: dict[str, Any], words: list[str], body: str | None) -> str:
    _, flags = _parsed("pr list", words, ("head", "base", "state", "limit", "json"), 0)
    fields = _fields(flags, PULL_FIELDS)
    _find_repository(github)
    state, heads = flags.get("state", ["open"])[-1], flags.get("head", [])
    found = [
        {
            "number": int(number), "url": f"{github['url']}/pull/{number}", "title": pull["title"],
            "body": pull["body"], "headRefName": pull["head"], "baseRefName": pull["base"], "isDraft": False,
            "isCrossRepository": bool(pull.get("from_fork")), "state": pull["state"], "headRefOid": "0" * 40,
        }
        for number, pull in sorted(github.get("pulls", {}).items(), key=lambda item: -int(item[0]))
        if state in ("all", pull["state"].lower()) and pull["head"] in (heads or [pull["head"]])
    ]  # fmt: skip
    limit = int(flags.get("limit", ["30"])[-1])
    return _json([{field: pull[field] for field in fields} for pull in found[:limit]])


def _create(github: dict[str, Any], words: list[str], body: str | None) -> str:
    _, flags = _parsed("pr create", words, ("head", "base", "title", "body", "body-file"), 0)
    title = flags.get("title", [""])[-1]
    if "title" not in flags or not {"body", "body-file"} & flags.keys():
        raise Failure(
            1,
            "must provide `--title` and `--body` (or `--fill` or `fill-first` or `--fillverbose`) when not running "
            "interactively\n\nUsage:  gh pr create [flags]\n\n",
        )
    _find_repository(github)
    if "head" not in flags:
        raise Failure(1, "aborted: you must first push the current branch to a remote, or use the --head flag")
    head, base = flags["head"][-1], flags.get("base", [github["default_branch"]])[-1]
    pulls = github.setdefault("pulls", {})
    for number, pull in pulls.items():
        if (pull["head"], pull["base"], pull["state"]) == (head, base, "OPEN") and not pull.get("from_fork"):
            url = f"{github['url']}/pull/{number}"
            raise Failure(1, f'a pull request for branch "{head}" into branch "{base}" already exists:\n{url}\n')
    if not title.strip():
        raise Failure(1, "pull request title must not be blank\n")
    wrong = [f"Title is too long (maximum is {LONGEST_TITLE} characters)"] if len(title) > LONGEST_TITLE else []
    wrong += _wrong_branches(github.get("git"), head, base)
    text = (body or "") if flags.get("body-file") == ["-"] else flags.get("body", [""])[-1]
    if len(text) > LONGEST_BODY:
        wrong.append(f"Body is too long (maximum is {LONGEST_BODY} characters)")
    if wrong:
        raise Failure(1, f"pull request create failed: GraphQL: {', '.join(wrong)} (createPullRequest)\n")
    number = str(max([100, *map(int, (*github["issues"], *pulls))]) + 1)
    pulls[number] = {"title": title, "body": text, "head": head, "base": base, "state": "OPEN"}
    return f"{github['url']}/pull/{number}\n"


def _wrong_branches(git_dir: str | None, head: str, base: str) -> list[str]:
    """What GitHub has against two branches, as far as there is a repository to ask."""
    if git_dir is None:
        return []
    commits = {}
    for branch in (head, base):
        asked = ["git", "-C", git_dir, "rev-parse", "--verify", "--quiet", f"refs/heads/{branch}"]
        commits[branch] = subprocess.run(asked, capture_output=True, text=True).stdout.strip()
    wrong = []
    for what, branch in (("Head", head), ("Base", base)):
        if not commits[branch]:
            wrong += [f"{what} sha can't be blank", f"{what} ref must be a branch"]
    if not wrong:
        asked = ["git", "-C", git_dir, "rev-list", "--count", f"{commits[base]}..{commits[head]}"]
        if subprocess.run(asked, capture_output=True, text=True).stdout.strip() != "0":
            return []
    return [*wrong, f"No commits between {base} and {head}"]


def _edit(github: dict[str, Any], words: list[str], body: str | None) -> str:
    given, _ = _parsed("pr edit [<number> | <url> | <branch>]", words, ("body", "body-file", "title"), 1)
    _find_repository(github)
    pull = github.get("pulls", {}).get(given[0])
    if pull is None:
        raise Failure(
            1,
            f"GraphQL: Could not resolve to a PullRequest with the number of {given[0]}. (repository.pullRequest)\n",
        )
    pull["body"] = body or ""
    return f"{github['url']}/pull/{given[0]}\n"


def _repository(github: dict[str, Any], words: list[str], body: str | None) -> str:
    _, flags = _parsed("repo view [<repository>]", words, ("json",), 0)
    fields = _fields(flags, REPOSITORY_FIELDS)
    _find_repository(github)
    owner, name = _name(github["url"]).split("/")
    everything = {
        "url": github["url"], "defaultBranchRef": {"name": github["default_branch"]}, "name": name,
        "viewerPermission": github.get("permission", "ADMIN"),
        "owner": {"id": "O_1", "login": owner}, "nameWithOwner": f"{owner}/{name}", "description": "", "isFork": False,
    }  # fmt: skip
    return _json({field: everything[field] for field in fields})


# -- what they share -------------------------------------------------------------------------------------------------


def _parsed(
    usage: str, words: list[str], known: tuple[str, ...], wanted: int
) -> tuple[list[str], dict[str, list[str]]]:
    """Arguments and flags of a command, with gh's words for wrong ones."""
    given: list[str] = []
    flags: dict[str, list[str]] = {}
    rest = iter(words)
    for word in rest:
        name, equals, value = word.partition("=")
        if not word.startswith("-") or word == "-":
            given.append(word)
        elif not name.startswith("--") or name[2:] not in known:
            raise Failure(1, f"unknown flag: {name}\n\nUsage:  gh {usage} [flags]\n\n")
        else:
            if not equals:
                value = next(rest, "")
                if not value:
                    raise Failure(1, f"flag needs an argument: {name}\n\nUsage:  gh {usage} [flags]\n\n")
            flags.setdefault(name[2:], []).append(value)
    if len(given) != wanted:
        raise Failure(1, f"accepts {wanted} arg(s), received {len(given)}\n")
    return given, flags


def _fields(flags: dict[str, list[str]], known: tuple[str, ...]) -> list[str]:
    fields = [field for value in flags.get("json", []) for field in value.split(",")]
    for field in fields:
        if field not in known:
            listed = "\n  ".join(known)
            raise Failure(1, f'Unknown JSON field: "{field}"\nAvailable fields:\n  {listed}\n')
    return fields


def _find_repository(github: dict[str, Any]) -> None:
    asked = subprocess.run(["git", "remote", "-v"], capture_output=True, text=True)
    if asked.returncode != 0:
        raise Failure(1, f"failed to run git: {asked.stderr.strip()}\n\n")
    addresses = [line.split()[1] for line in asked.stdout.splitlines()]
    if not addresses:
        raise Failure(1, "no git remotes found\n")
    if not any(_name(address) == _name(github["url"]) for address in addresses):
        raise Failure(
            1,
            "none of the git remotes configured for this repository point to a known GitHub host. To tell gh about a "
            "new GitHub host, please use `gh auth login`\n",
        )


def _issue(github: dict[str, Any], word: str) -> tuple[str, dict[str, Any]]:
    digits = word[1:] if word.startswith("#") else word
    if not digits.isdecimal():
        raise Failure(1, f'invalid issue format: "{word}"\n')
    number = str(int(digits))
    if number not in github["issues"]:
        _refuse_switched_off(github)
        raise Failure(
            1,
            f"GraphQL: Could not resolve to an issue or pull request with the number of {number}. (repository.issue)\n",
        )
    return number, github["issues"][number]


def _refuse_switched_off(github: dict[str, Any]) -> None:
    if not github.get("issues_enabled", True):
        raise Failure(1, f"the '{_name(github['url'])}' repository has disabled issues\n")


def _exported(github: dict[str, Any], number: str, issue: dict[str, Any], fields: list[str]) -> dict[str, Any]:
    milestone = issue.get("milestone")
    everything = {
        "number": int(number), "title": issue["title"], "body": issue.get("body", ""), "state": issue["state"],
        "url": _address(github, number, issue), "id": f"I_{number}",
        "author": {"login": issue.get("author", "octocat")}, "stateReason": issue.get("stateReason", ""),
        "closed": issue["state"] == "CLOSED",
        "labels": [
            {"id": f"LA_{name}", "name": name, "description": "", "color": "ededed"} for name in issue.get("labels", [])
        ],
        "milestone": {"number": 1, "title": milestone, "description": "", "dueOn": None} if milestone else None,
        "assignees": [], "projectCards": [], "projectItems": [], "reactionGroups": [],
        "closedByPullRequestsReferences": [], "closedAt": None, "isPinned": False,
        "createdAt": "2026-01-01T00:00:00Z", "updatedAt": "2026-01-01T00:00:00Z",
        "comments": [
            {
                "id": f"IC_{position}", "author": {"login": known["author"]}, "authorAssociation": "MEMBER",
                "body": known["body"], "createdAt": "2026-01-01T00:00:00Z", "includesCreatedEdit": False,
                "isMinimized": False, "minimizedReason": "", "reactionGroups": [], "url": known.get("url", ""),
                "viewerDidAuthor": known["author"] == github["viewer"],
            }
            for position, known in enumerate(issue.get("comments", []))
        ],
    }  # fmt: skip
    return {field: everything[field] for field in fields}


def _address(github: dict[str, Any], number: str, issue: dict[str, Any]) -> str:
    return f"{github['url']}/{'pull' if issue.get('pull_request') else 'issues'}/{number}"


def _name(address: str) -> str:
    """OWNER/NAME at the end of an address, in lower case as GitHub compares it."""
    path = address.lower().rstrip("/").replace(":", "/")
    return "/".join((path[: -len(".git")] if path.endswith(".git") else path).split("/")[-2:])


def _json(value: object) -> str:
    return json.dumps(value, separators=(",", ":"), sort_keys=True, ensure_ascii=False) + "\n"
