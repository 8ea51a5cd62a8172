"""A scripted model that implements the features of examples/todo as a careful person would.

    with ScriptedModel(roles(compact_in=3)) as model: ...

What it types is in `examples/solutions/N-NAME.patch`, one commit each, as `git am` takes them. The worker reads which
feature it has, reads the code, writes the test and sees it fail, changes the code, sees it pass, writes the
docs, commits, has the reviewer look, and runs `batchctl done`. What it gets back is checked at every step: an answer
that is not as it should be ends the run with an AssertionError.
"""

from __future__ import annotations

import re
import shlex
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests" / "client"))

from scripted_model import REPOSITORY, WINDOW_FULL, Request, Role, Script, Turn, call, calls, say

from scripts import batchctl, coordinator, feature_number, write

EXAMPLE = REPOSITORY / "examples" / "todo"
SOLUTIONS = REPOSITORY / "examples" / "solutions"
TESTS = "python3 -m unittest"


@dataclass(frozen=True)
class Change:
    """The change of one file in a commit: hunks as (before, after); a new file has one with nothing before."""

    path: str
    new: bool
    hunks: tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class Solution:
    """A commit: the paragraphs of its message, and its changes."""

    message: tuple[str, ...]
    changes: tuple[Change, ...]

    def paths(self) -> list[str]:
        """Return every file that it touches."""
        return [change.path for change in self.changes]

    def turns(self, kind: str) -> Iterator[Turn]:
        """Yield the tool calls for its changes of one kind, `test`, `code` or `docs`: one Write or Edit per turn."""
        for change in self.changes:
            if classify_file(change.path) != kind:
                continue
            for before, after in change.hunks:
                if change.new:
                    yield write(change.path, after)
                else:
                    yield call("Edit", file_path=change.path, old_string=before, new_string=after)


def classify_file(path: str) -> str:
    """Return what a file is for: `test`, `code` or `docs`."""
    return "test" if path.startswith("tests/") else "docs" if path.endswith(".md") else "code"


def read_solution(number: int) -> Solution:
    """Return the solution of feature `number`, from 1."""
    (path,) = SOLUTIONS.glob(f"{number}-*.patch")
    return read_patch(path.read_text(encoding="utf-8"))


def read_patch(text: str) -> Solution:
    """Read the commit from a patch of `git format-patch`: text files, added or changed."""
    head, *files = re.split(r"^diff --git .*\n", text, flags=re.MULTILINE)
    subject, _, rest = head.split("Subject: ", 1)[1].partition("\n\n")
    body = rest.split("\n---\n", 1)[0].strip()
    changes = []
    for file in files:
        header, *hunks = re.split(r"^@@ .*\n", file, flags=re.MULTILINE)
        path = re.search(r"^\+\+\+ b/(.*)$", header, re.MULTILINE)
        assert path, f"no file name in {header!r}"
        changes.append(Change(path.group(1), "new file" in header, tuple(map(_both_sides, hunks))))
    return Solution((subject, *filter(None, [body])), tuple(changes))


def _both_sides(hunk: str) -> tuple[str, str]:
    lines = hunk.splitlines(keepends=True)
    before = "".join(line[1:] for line in lines if line[0] in " -")
    after = "".join(line[1:] for line in lines if line[0] in " +")
    return before, after


def model_scripts(compact_in: int = 0) -> dict[str, Role]:
    """Return the scripts of coordinator, worker and reviewer. The worker is compacted in feature `compact_in`, from 1
    (0: never)."""

    def work(request: Request) -> Script:
        number = feature_number(request)
        done = read_solution(number)
        known = [
            "README.md",
            "todo.py",
            *(c.path for c in done.changes if not c.new and classify_file(c.path) == "test"),
        ]
        read = calls(*(("Read", {"file_path": path}) for path in known))

        look = call("Bash", command="git log --oneline -3 && git status --short")
        request = yield look.with_text("I look at what is there first.")
        base = request.last_text().split()[0]
        request = yield read
        assert not request.error, request.last_text()

        for turn in done.turns("test"):
            request = yield turn
            assert not request.error, request.last_text()
        red = call("Bash", command=TESTS)
        request = yield red.with_usage(WINDOW_FULL) if number == compact_in else red
        if number == compact_in:
            reminded = request.text()
            assert f"Now: feature {number} of" in reminded, f"no reminder after the compaction: {reminded[-2000:]}"
            request = yield batchctl("brief").with_text("My window was compacted; the reminder says where I am.")
            assert f"Feature {number} of" in request.last_text(), request.last_text()
            request = yield read
        else:
            assert request.error and "FAILED" in request.last_text(), request.last_text()

        for turn in done.turns("code"):
            request = yield turn
            assert not request.error, request.last_text()

        request = yield call("Bash", command=TESTS)
        assert not request.error and "OK" in request.last_text(), request.last_text()

        for turn in done.turns("docs"):
            request = yield turn
            assert not request.error, request.last_text()

        message = " ".join(f"-m {shlex.quote(' '.join(part.split()))}" for part in done.message)
        request = yield call("Bash", command=f"git add {' '.join(done.paths())} && git commit -q {message}")
        assert not request.error, request.last_text()

        request = yield call(
            "Agent",
            subagent_type="batch-implement:reviewer",
            description="Review the commit",
            prompt=f"Review `git diff {base}..HEAD`. The feature: {' '.join(done.message)}",
            run_in_background=False,
        )
        assert "VERDICT: good" in request.last_text(), request.last_text()

        request = yield batchctl("done")
        while "still runs" in request.last_text():
            request = yield batchctl("done")
        assert not request.error, request.last_text()
        yield say(f"{done.message[0]}: done, with tests and documentation.")

    return {"coordinator": coordinator, "worker": work, "reviewer": review}


def review(request: Request) -> Script:
    """Read the diff and find nothing to change."""
    base = re.search(r"git diff (\w+)\.\.HEAD`", request.text())
    assert base, request.text()
    request = yield call("Bash", command=f"git diff {base.group(1)}..HEAD")
    assert "diff --git" in request.last_text(), request.last_text()
    yield say("VERDICT: good\nThe diff does what the feature asks for, and its tests fail without it.")
