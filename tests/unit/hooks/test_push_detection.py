"""What a shell command published, read off the command and its output; the outputs of git are real ones."""

from __future__ import annotations

import re
import subprocess
import time
from pathlib import Path

import pytest
from batch_implement.hooks.push_detection import MAX_ERROR_CHARS, detect_operations
from batches import commit, git

URL = "https://github.com/o/r/pull/17"
PUSHED = {"success": True, "remote": None, "branch": None, "sha": None, "url": None, "error": None}
HERE = "cat <<'EOF'\nIt's \"quoted\"\n\ngit push nowhere\nEOF\n"
FORM = """To ../remote.git
   1a2b3c4..5d6e7f8  main -> main
"""


def push(command, output="", *, succeeded=True):
    """The record of the push in a command."""
    operation = detect_operations(command, output, succeeded=succeeded)
    assert set(operation) <= {"push"}
    return operation.get("push")


# -- the command -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("command", "remote", "branch"),
    [
        ("git push", None, None),
        ("git push origin main", "origin", "main"),
        ("git push -u origin feature/x", "origin", "feature/x"),
        ("git push origin main:topic", "origin", "topic"),
        ("git push origin +main", "origin", "main"),
        ("git push origin HEAD:main", "origin", "main"),
        ("git push origin +HEAD:refs/heads/x/y", "origin", "x/y"),
        ("git push origin refs/heads/main", "origin", "main"),
        ("git push origin HEAD", "origin", None),
        ("git push origin :", "origin", None),
        ("git push origin $(git branch --show-current)", "origin", None),
        ('git push "$remote" "$(git branch --show-current)"', None, None),
        ("branch=feature/; branch+=x\ngit push origin $branch", "origin", "feature/x"),
        ("git push https://example.invalid/r.git main", "https://example.invalid/r.git", "main"),
        ("git push -o ci.skip --receive-pack x origin main", "origin", "main"),
        ("git push -onotify origin main", "origin", "main"),
        ("git push --force-with-lease --no-verify --follow-tags origin main", "origin", "main"),
        ("git push origin main --tags", "origin", "main"),
        ("git push origin tag v1 main", "origin", "main"),
        ("git push origin :old main", "origin", "main"),
        ("git push --all origin", "origin", None),
        ("git push --mirror origin", "origin", None),
        ("git -C /repo push origin", "origin", None),
        ("git -c a=b --no-pager push", None, None),
        ("git --git-dir /r/.git --work-tree=/r push origin main", "origin", "main"),
        ("/usr/bin/git push origin main", "origin", "main"),
        ("GIT_SSH_COMMAND='ssh -i key' A=1 git push origin main", "origin", "main"),
        ("env A=1 git push origin main", "origin", "main"),
        ("make test && git push origin main; echo done", "origin", "main"),
        ("git add -A\ngit commit -qm x\ngit push", None, None),
        ("(cd sub && git push origin main)", "origin", "main"),
        ("(git push origin main);echo done", "origin", "main"),
        ("if ! git push origin main; then echo no; fi", "origin", "main"),
        ("for r in a; do git push origin main; done", "origin", "main"),
        ("git push 'my remote' main | cat", "my remote", "main"),
        ("git push 2>&1 | tail -3", None, None),
        ("git push origin main 2>&1", "origin", "main"),
        ("git push >/dev/null 2>log origin main", "origin", "main"),
        ("git push origin main &> log", "origin", "main"),
        ("git push 2> log origin main", "origin", "main"),
        ("git push \\\n  origin \\\n  main", "origin", "main"),
        ("git push origin ma'in' # and so on", "origin", "main"),
        ("git push origin issue#3", "origin", "issue#3"),
        (f"git commit -qm \"$({HERE})\" && git push origin main", "origin", "main"),
        ("cat <<EOF >x\ngit push nowhere\nEOF\ngit push origin main", "origin", "main"),
        ("echo $((1<<n)); git push origin main", "origin", "main"),
        ("git commit -m 'two\nlines' && git push origin main", "origin", "main"),
        ("git push origin main; echo 'unclosed", "origin", "main"),
    ],
)  # fmt: skip
def test_a_push_is_recorded_with_where_it_went(command, remote, branch):
    assert push(command) == {**PUSHED, "remote": remote, "branch": branch}


@pytest.mark.parametrize(
    "command",
    [
        "", "git pull", "git push --dry-run", "git push -n origin main", "git push -fn origin main", "git push --help",
        "git push -h", "git push --delete origin old", "git push -d origin old", "git push origin --delete old",
        "git push origin :old", "git push --tags", "git push origin --tags", "git push origin tag v1",
        "git push origin refs/tags/v1", "git push origin HEAD:refs/notes/x", "echo git push",
        "git commit -m 'git push'", "git stash push", "git subtree push", "gitpush", "git log --grep push",
        "# git push", "true # git push",
        "cat <<EOF\ngit push\nEOF", "gh pr list", "gh pr view 3", "gh pr create --dry-run", "gh pr create --web",
        "gh pr create -fw", "gh pr create --help", "gh repo create", "git push 'unclosed", "gh pr create -t \"x",
    ],
)  # fmt: skip
def test_what_publishes_nothing_is_not_recorded(command):
    assert detect_operations(command, URL, succeeded=True) == {}


# -- real outputs ------------------------------------------------------------------------------------------------------


class Remote:
    """A repository with a bare one to push to; `run` runs a shell line as the client does and reads it."""

    def __init__(self, root):
        self.root = root
        git(root, "init", "-q", "--bare", "../remote.git")
        git(root, "remote", "add", "origin", "../remote.git")

    def run(self, command):
        done = subprocess.run(["sh", "-c", command], cwd=self.root, capture_output=True, text=True)
        self.output = f"{done.stdout}\n{done.stderr}"
        return detect_operations(command, self.output, succeeded=done.returncode == 0).get("push")

    def commit(self, name="x"):
        return commit(self.root, **{name: str(time.monotonic())})

    def reject(self):
        hook = Path(self.root, "../remote.git/hooks/pre-receive")
        hook.parent.mkdir(exist_ok=True)
        hook.write_text("#!/bin/sh\necho not on a Friday\nexit 1\n")
        hook.chmod(0o755)


@pytest.fixture
def remote(repository):
    """A repository with one commit, and a bare one without any as its `origin`."""
    return Remote(repository)


def test_a_first_push_is_told_by_its_output(remote):
    assert remote.run("git push -u origin main") == {
        **PUSHED, "remote": "origin", "branch": "main", "url": "../remote.git",
    }  # fmt: skip


def test_a_later_push_is_told_with_its_branch_and_commit(remote):
    remote.run("git push -u origin main")
    made = remote.commit()
    operation = remote.run("git push")
    assert (operation["success"], operation["branch"], operation["url"]) == (True, "main", "../remote.git")
    assert made.startswith(operation["sha"])
    assert remote.run("git push") == PUSHED  # everything is up to date


@pytest.mark.parametrize(
    ("words", "branch"),
    [
        ("origin HEAD", "main"), ("origin HEAD:topic", "topic"), ("origin +main:refs/heads/x/y", "x/y"),
        ('origin "$(git branch --show-current)"', "main"), ("--force-with-lease origin main", "main"),
        ("-v origin main", "main"), ("--porcelain origin main", "main"), ("--all origin", "main"),
        ("--follow-tags origin main", "main"), ("--tags origin main", "main"), ("origin main v1", "main"),
    ],
)  # fmt: skip
def test_the_branch_is_where_the_commits_are_now(remote, words, branch):
    git(remote.root, "tag", "-a", "-m", "v1", "v1")
    operation = remote.run(f"git push {words}")
    assert (operation["success"], operation["branch"]) == (True, branch)
    assert git(remote.root, "ls-remote", "../remote.git", f"refs/heads/{branch}")


def test_a_forced_push_is_told_with_its_commit(remote):
    remote.run("git push origin main")
    git(remote.root, "commit", "-q", "--amend", "-m", "other")
    operation = remote.run("git push origin +main")
    assert git(remote.root, "rev-parse", "HEAD").startswith(operation["sha"])


@pytest.mark.parametrize("tail", ["", " 2>&1 | cat", "; echo done", " || true", " 2>&1 | tail -1"])
def test_a_rejected_push_failed_whatever_the_line_as_a_whole_did(remote, tail):
    remote.run("git push origin main")
    git(remote.root, "commit", "-q", "--amend", "-m", "other")
    operation = remote.run(f"git push origin main{tail}")
    assert (operation["success"], operation["remote"], operation["branch"], operation["sha"]) == (
        False,
        "origin",
        "main",
        None,
    )
    if "tail" not in tail:
        assert operation["error"].splitlines() == [
            "! [rejected]        main -> main (non-fast-forward)",
            "error: failed to push some refs to '../remote.git'",
        ]


def test_what_a_hook_over_there_said_is_part_of_the_error(remote):
    remote.reject()
    operation = remote.run("git push origin main; true")
    assert not operation["success"]
    assert "! [remote rejected] main -> main (pre-receive hook declined)" in operation["error"]
    assert operation["error"].endswith("remote: not on a Friday")


@pytest.mark.parametrize("words", ["", "nowhere main", "origin nosuch", "--porcelain origin nosuch", "-q nowhere"])
def test_a_push_that_came_to_nothing_is_a_failure_with_gits_words(remote, words):
    operation = remote.run(f"git push {words}")
    assert not operation["success"]
    assert re.match(r"(fatal|error): ", operation["error"])


def test_one_that_came_to_nothing_is_seen_behind_a_pipe_too(remote):
    assert not remote.run("git push nowhere main 2>&1 | cat")["success"]


def test_a_rejected_porcelain_push_is_a_failure(remote):
    remote.reject()
    operation = remote.run("git push --porcelain origin main | cat")
    assert (operation["success"], operation["branch"]) == (False, "main")


def test_a_good_push_stays_one_when_the_line_fails_later(remote):
    operation = remote.run("git push origin main && false")
    assert (operation["success"], operation["branch"], operation["error"]) == (True, "main", None)


def test_a_quiet_push_is_known_by_the_exit_status_alone(remote):
    assert remote.run("git push -q origin main; git tag main; git tag main 2>&1; true")["success"]
    assert remote.run("git push --quiet origin main && false") is not None


def test_tags_and_deletions_alone_are_no_push_of_a_branch(remote):
    git(remote.root, "tag", "v1")
    remote.run("git push origin main main:old")
    assert remote.run("git push origin v1") is None
    assert remote.run("git push origin --delete old") is None
    assert remote.run("git push --dry-run origin main:topic") is None


def test_several_branches_at_once_are_none_in_particular(remote):
    git(remote.root, "branch", "other")
    operation = remote.run("git push --all origin")
    assert (operation["success"], operation["branch"], operation["sha"]) == (True, None, None)


def test_a_mirror_publishes_too(remote):
    git(remote.root, "tag", "v1")
    assert remote.run("git push --mirror origin")["branch"] == "main"


def test_what_a_fetch_says_is_not_taken_for_a_push(remote, tmp_path):
    remote.run("git push -u origin main")
    git(tmp_path, "clone", "-q", "remote.git", "other")
    commit(tmp_path / "other", theirs="1")
    git(tmp_path / "other", "push", "-q", "origin", "main", "main:a-longer-name")
    made = remote.commit()
    operation = remote.run("git pull --rebase && git push")
    assert "a-longer-name -> origin/a-longer-name" in remote.output
    assert (operation["success"], operation["branch"]) == (True, "main")
    assert git(remote.root, "rev-parse", "HEAD").startswith(operation["sha"])
    assert not made.startswith(operation["sha"])


def test_a_second_try_that_worked_is_what_counts(remote, tmp_path):
    remote.run("git push -u origin main")
    git(tmp_path, "clone", "-q", "remote.git", "other")
    commit(tmp_path / "other", theirs="1")
    git(tmp_path / "other", "push", "-q", "origin", "main")
    remote.commit()
    operation = remote.run("git push || (git pull -q --rebase && git push)")
    assert (operation["success"], operation["branch"]) == (True, "main")
    remote.commit("second")
    assert remote.run("git push || (git pull -q --rebase && git push)")["success"]  # the first try was enough


def test_one_push_to_two_places_has_failed_when_either_refused(remote):
    git(remote.root, "init", "-q", "--bare", "../mirror.git")
    for url in ("../mirror.git", "../remote.git"):
        git(remote.root, "remote", "set-url", "--add", "--push", "origin", url)
    operation = remote.run("git push origin main")
    assert (operation["success"], operation["branch"], operation["url"]) == (True, "main", "../mirror.git")
    remote.reject()
    remote.commit()
    assert not remote.run("git push origin main; true")["success"]


def test_of_several_pushes_the_last_is_told(remote):
    git(remote.root, "init", "-q", "--bare", "../mirror.git")
    git(remote.root, "remote", "add", "mirror", "../mirror.git")
    operation = remote.run("git push origin main && git push mirror main:copy && git push --tags")
    assert (operation["remote"], operation["branch"], operation["url"]) == ("mirror", "copy", "../mirror.git")


def test_of_several_pushes_one_that_failed_is_told_before_the_others(remote):
    operation = remote.run("git push nowhere main; git push origin main:other")
    assert (operation["success"], operation["remote"]) == (
        True,
        "origin",
    )  # what came to nothing left no trace of its own
    remote.reject()
    git(remote.root, "init", "-q", "--bare", "../mirror.git")
    operation = remote.run("git push origin main; git push ../mirror.git main:copy")
    assert (operation["success"], operation["remote"], operation["branch"]) == (False, "origin", "main")


def test_of_several_that_failed_the_last_is_told():
    output = "".join(f"To {url}\n ! [rejected]        main -> main (fetch first)\n" for url in ("x", "y"))
    assert push("git push one main; git push two main", output)["url"] == "y"


def test_what_another_program_calls_an_error_is_none_of_the_push():
    assert push("cargo test; git push", "error: test failed, to rerun pass `--lib`\n")["success"]


def test_each_push_that_had_nothing_to_do_says_so_for_itself():
    output = "To x\n = [up to date]      main -> main\nEverything up-to-date\nEverything up-to-date\n"
    assert push("git push -v one main; git push two main", output)["remote"] == "two"


def test_the_last_push_of_a_line_that_failed_is_told_although_it_left_no_trace(remote):
    operation = remote.run("git push origin main && git push nowhere main")
    assert (operation["success"], operation["remote"]) == (False, "nowhere")


def test_pushes_are_told_apart_by_the_names_they_give(remote):
    operation = remote.run(
        "git push -q origin main:quiet; git push origin main:loud; git push --dry-run origin main:dry"
    )
    assert (operation["success"], operation["branch"]) == (True, "loud")


def test_a_repository_with_sha_256_is_read_as_well(tmp_path):
    root = tmp_path / "repository"
    root.mkdir()
    git(root, "init", "-q", "--object-format=sha256")
    commit(root, one="1")
    git(root, "init", "-q", "--bare", "--object-format=sha256", "../remote.git")
    git(root, "push", "-q", "../remote.git", "main")
    git(root, "config", "core.abbrev", "64")
    made = commit(root, two="2")
    command = "git push ../remote.git main"
    done = subprocess.run(["sh", "-c", command], cwd=root, capture_output=True, text=True, check=True)
    assert push(command, done.stderr)["sha"] == made


# -- what else is in an output -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "line",
    [
        "[main 1a2b3c4] Fix", "Updating 1a2b3c4..5d6e7f8", "1a2b3c4..5d6e7f8", "1a2b3c4..5d6e7f8  Fix", "a..b  c -> d",
        "To be or not to be", " ! [rejected] is what it said", "x -> y", "remote:  * [new branch]      evil -> evil",
    ],
)  # fmt: skip
def test_lines_that_only_look_alike_say_nothing(line):
    assert push("git push", f"{line}\n") == PUSHED
    assert push("git push", f"{line}\n{FORM}")["branch"] == "main"


@pytest.mark.parametrize(
    "line",
    [
        " * [new tag]         v1 -> v1", " - [deleted]         old", " * [new reference]   origin/main -> origin/main",
        "   1a2b3c4..5d6e7f8  refs/notes/x -> refs/notes/x", "-\t:refs/heads/old\t[deleted]",
        "*\trefs/tags/v1:refs/tags/v1\t[new tag]",
    ],
)  # fmt: skip
def test_what_is_no_branch_does_not_count(line):
    assert push("git push", f"To x\n{line}\n") is None
    assert push("git push", f"{FORM}{line}\n")["branch"] == "main"


def test_the_advice_to_name_an_upstream_is_not_where_it_went():
    advice = "To push the current branch and set the remote as upstream, use\n\n    git push --set-upstream origin x\n"
    assert push("git push", f"{advice}   1a2b3c4..5d6e7f8  main -> main\n")["url"] is None


def test_the_last_line_alone_is_enough():
    assert push("git push 2>&1 | tail -1", "1a2b3c4..5d6e7f8  main -> main")["sha"] == "5d6e7f8"


def test_passwords_are_not_kept():
    output = "To https://me:secret@example.invalid/r.git\n ! [rejected] main -> main (x)\nfatal: 'https://a:b@c' no\n"
    operation = push("git push", output)
    assert operation["url"] == "https://example.invalid/r.git"
    assert "fatal: 'https://c' no" in operation["error"]
    assert "secret" not in str(operation)
    assert push("git push https://me:secret@example.invalid/r.git")["remote"] == "https://example.invalid/r.git"


def test_names_are_kept_up_to_a_bound():
    operation = push(f"git push {'r' * 9999} {'b' * 9999}")
    assert (len(operation["remote"]), len(operation["branch"])) == (MAX_ERROR_CHARS, MAX_ERROR_CHARS)


def test_a_failure_without_gits_words_keeps_the_beginning_of_what_was_said():
    operation = detect_operations("git push && gh pr create", "rejected " + "x" * 1000, succeeded=False)
    assert (operation["push"]["success"], operation["pr"]["success"]) == (False, False)
    assert operation["push"]["error"] == ("rejected " + "x" * 1000)[:MAX_ERROR_CHARS]


@pytest.mark.parametrize(
    "command",
    [
        "git push " * 20000, "git push;" * 20000, "! " * 50000 + "git push", "<<a " * 30000,
        "<<a\n" * 30000 + "git push", "git push " + "'x'" * 30000, "1" * 100000 + " git push", "((((" * 30000,
        "$(" * 30000 + "git push", '"\\' * 50000,
    ],
    ids=range(10),
)  # fmt: skip
def test_long_commands_are_read_in_linear_time(command):
    began = time.process_time()
    detect_operations(command, FORM * 2000, succeeded=True)
    assert time.process_time() - began < 3


@pytest.mark.parametrize(
    "output",
    [
        " " * 100000, "a pull request for branch " * 10000, "https://x/" + "/pull/1" * 20000, "x) " * 50000,
        "   1a2b..3c4d  " + "x" * 100000, "://a" * 50000, "fatal: \n" * 50000, "To x\n" * 50000,
        "   1a2b..3c4d  x -> y (" * 9000, "-\t" + "a:" * 50000,
    ],
    ids=range(10),
)  # fmt: skip
def test_long_outputs_are_read_in_linear_time(output):
    began = time.process_time()
    detect_operations("git push; git push; gh pr create", output, succeeded=False)
    assert time.process_time() - began < 3


# -- pull requests -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "command",
    [
        "gh pr create --fill", "gh pr new -df", "GH_TOKEN=x gh pr create -t 'Show --dry-run' -b \"--web\"",
        "gh pr -R o/r create", "gh pr create --title --dry-run", "git push -q && gh pr create", "/opt/bin/gh pr create",
        "gh pr create --body \"$(cat <<'EOF'\n## It's \"done\"\ngh pr create --dry-run\nEOF\n)\" 2>&1 | tail -1",
        "gh pr create -tShow",
    ],
)  # fmt: skip
def test_a_pull_request_is_recorded_with_its_number_and_address(command):
    output = (
        f"Creating pull request\nsee https://x/pull/1 above\n  {URL}  \nremote: https://github.com/o/r/pull/new/x\n"
    )
    assert detect_operations(command, output, succeeded=True)["pr"] == {
        "success": True, "url": URL, "number": 17, "error": None,
    }  # fmt: skip


@pytest.mark.parametrize(
    "output", ["", "https://github.com/o/r", "/pull/17", "https://github.com/o/r/pull/new", f"{URL}9" + "9" * 20]
)
def test_without_an_address_of_a_pull_request_there_is_no_number(output):
    assert detect_operations("gh pr create", output, succeeded=True)["pr"]["number"] is None


def test_one_that_was_made_stays_so_when_the_line_fails_later():
    assert detect_operations("gh pr create && false", URL, succeeded=False)["pr"]["success"]


@pytest.mark.parametrize(
    "words",
    [
        "pull request create failed: GraphQL: No commits between main and x (createPullRequest)",
        "aborted: you must first push the current branch to a remote, or use the --head flag",
        "To get started with GitHub CLI, please run:  gh auth login", "could not find any commits between main and x",
    ],
)  # fmt: skip
def test_one_that_was_not_made_is_a_failure_whatever_the_line_did(words):
    operation = detect_operations("gh pr create || true", f"noise\n{words}\n", succeeded=True)["pr"]
    assert (operation["success"], operation["url"], operation["number"]) == (False, None, None)
    assert words.endswith(operation["error"])


def test_one_that_is_there_already_is_a_failure_with_its_address():
    output = f'a pull request for branch "x" into branch "main" already exists:\n{URL}\n'
    operation = detect_operations("gh pr create --fill", output, succeeded=False)["pr"]
    assert (operation["success"], operation["number"]) == (False, 17)
    assert operation["error"].startswith("a pull request for branch")
