"""What would stop the night, with real git and a stand-in for `claude` on PATH."""

from __future__ import annotations

import json
import os
import random
import re
import shutil

import pytest
from batch_implement.base.project_paths import Project
from batch_implement.cli import batchctl
from batch_implement.commands import doctor
from batch_implement.core import path_conflicts, run_transitions
from batch_implement.git import git_client
from batch_implement.runner import options
from batch_implement.runner.options import Options
from batch_implement.runner.preflight import environment_checks, preflight_checks, verify_check
from batch_implement.store.store import Store
from batches import NOW, commit, completed, files_in, git, given_up, new_batch, owner, then
from gh_stand_in import StandIn

BRANCH = "batch/batch-1/merged"
REMEDY = re.compile(r"`[a-z-]|Give |Remove or narrow them|Make room|End other programs")
CLAUDE = """#!/bin/sh
case "$1 $2" in
"--version ") echo "${FAKE_VERSION:-2.1.330} (Claude Code)" ;;
"auth status") echo "$FAKE_AUTH" ;;
*) touch "$FAKE_STARTED" ;;
esac
"""


@pytest.fixture
def night(repository, tmp_path, monkeypatch):
    """What a preflight finds: `night(state, jobs=2)` as check -> [(verdict, text)]; by default nothing is bad."""
    folder = tmp_path / "programs"
    folder.mkdir()
    (folder / "claude").write_text(CLAUDE)
    (folder / "claude").chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}:{os.environ['PATH']}")
    monkeypatch.setenv("FAKE_AUTH", '{"loggedIn": true, "authMethod": "api_key"}')
    monkeypatch.setenv("FAKE_STARTED", str(tmp_path / "client was started"))

    def look(state=None, **chosen):
        settled = options.with_defaults(Options(**chosen), str(repository))
        state = state or new_batch(3, verify="true")
        results = {}
        previous = Store(Project(str(repository))).read_if_usable()
        for entry in preflight_checks.run_checks(
            Project(str(repository)), state, settled, os.environ, batchctl.PLUGIN, previous
        ):
            results.setdefault(entry["check"], []).append((entry["verdict"], entry["text"]))
        assert not (tmp_path / "client was started").exists()
        return results

    return look


def looked(look):
    """The looks' pairs; every one that is bad says what to do."""
    results = [(entry["verdict"], entry["text"]) for entry in doctor.collect_checks([("", lambda: look)])]
    for verdict, text in results:
        assert verdict != doctor.ERROR or REMEDY.search(text), f"no remedy: {text}"
    return results


def verdicts(look):
    return [verdict for verdict, _ in looked(look)]


def begun(state, **more):
    """The batch under a run."""
    chosen = {"branch": BRANCH, "base_commit": "c0ffee", "target": "main", "worktrees": "/w/batch-1", "jobs": 1}
    return then(state, run_transitions.begin, NOW, owner(), **{**chosen, "options": {}, "budgets": {}, **more})


# -- all of it ---------------------------------------------------------------------------------------------------------


def test_on_good_ground_nothing_is_bad_and_nothing_changes(night, repository, tmp_path):
    before = files_in(tmp_path), git(repository, "for-each-ref"), git(repository, "worktree", "list")
    results = night(jobs=2)
    assert list(results) == [
        "python", "git", "tree", "branch", "worktrees", "features", "limits", "hooks", "permissions", "client", "login",
        "memory", "disk", "verify",
    ]  # fmt: skip
    assert [results[name] for name in results if any(verdict == doctor.ERROR for verdict, _ in results[name])] == []
    assert results["verify"][-1][1].startswith("`true` passes on the commit that the run starts from")
    after = files_in(tmp_path), git(repository, "for-each-ref"), git(repository, "worktree", "list")
    new = {name for name in after[0] - before[0] if not name.startswith("repository/.git/objects")}
    assert (new, after[1:]) == (set(), before[1:])


def test_the_verify_command_is_tried_only_when_nothing_else_is_bad(night, repository, tmp_path):
    (repository / "README.md").write_text("changed")
    results = night(new_batch(2, verify=f"touch '{tmp_path}/verified'"))
    assert results["tree"][0][0] == doctor.ERROR
    assert results["verify"] == [(doctor.WARNING, "not tried because of the errors above")]
    assert not (tmp_path / "verified").exists()


def test_outside_of_git_and_before_the_first_commit_the_rest_is_not_tried(night, repository):
    shutil.rmtree(repository / ".git")
    assert list(night()) == ["python", "git"]
    git(repository, "init", "-q")
    results = night()
    assert "There is no commit to start from" in results["tree"][0][1]
    assert "verify" not in results


def test_a_command_in_place_of_the_client_needs_no_client(night, monkeypatch):
    monkeypatch.setenv("FAKE_VERSION", "none")
    results = night(worker="true")
    assert not {"hooks", "permissions", "client", "login", "memory"} & results.keys()
    assert results["verify"][-1][0] == doctor.OK


def test_with_pull_requests_the_remote_is_looked_at(night, repository, tmp_path, monkeypatch):
    assert "remote" not in night()
    assert night(pr="batch")["remote"][0][0] == doctor.ERROR
    remote = tmp_path / "remote/acme/widgets.git"
    git(repository, "clone", "-q", "--bare", ".", str(remote))
    git(repository, "remote", "add", "origin", str(remote))
    github = StandIn(tmp_path / "github.json")
    github.on_path(monkeypatch)
    head = git(repository, "rev-parse", "HEAD")

    def look():
        return looked(preflight_checks._check_pull_requests(str(repository), head, BRANCH))

    assert look() == [
        (
            doctor.OK,
            f"branches go to origin, pull requests to {github.github()['url']} (its branch rules are not checked)",
        )
    ]
    github.change(permission="READ")
    assert "gh's login has only the permission `read`" in look()[0][1]
    github.change(permission=None)
    assert look()[0][0] == doctor.WARNING
    shutil.rmtree(remote)
    ((verdict, text),) = look()
    assert (verdict, "`git remote -v`" in text) == (doctor.ERROR, True)


# -- the tree and the branches -----------------------------------------------------------------------------------------


def tree(repository, merge=False):
    return looked(environment_checks.check_working_tree(str(repository), merge=merge))


def test_a_clean_tree_is_good_and_what_is_not_tracked_does_not_matter(repository):
    (repository / "notes.txt").write_text("x")
    assert tree(repository) == [(doctor.OK, "nothing is modified or staged on main")]


@pytest.mark.parametrize("staged", [False, True])
def test_what_is_modified_or_staged_is_bad(repository, staged):
    (repository / "README.md").write_text("changed")
    if staged:
        git(repository, "add", ".")
    ((verdict, text),) = tree(repository)
    assert (verdict, "README.md" in text, "last commit without them. Commit" in text) == (doctor.ERROR, True, True)
    assert "`--merge` would fail" in tree(repository, merge=True)[0][1]


def test_what_git_is_in_the_middle_of_is_bad(repository):
    (repository / ".git/MERGE_HEAD").write_text(git(repository, "rev-parse", "HEAD") + "\n")
    assert tree(repository)[0][1].startswith("A merge is in progress")


def test_a_detached_head_is_bad_only_with_merge(repository):
    git(repository, "switch", "-q", "--detach")
    assert tree(repository) == [(doctor.OK, "nothing is modified or staged on a detached HEAD")]
    assert "HEAD is detached" in tree(repository, merge=True)[-1][1]


def test_what_no_work_tree_will_have_is_worth_a_look(repository):
    (repository / "CLAUDE.md").write_text("x")
    assert tree(repository)[-1] == (
        doctor.WARNING, "Not committed, so missing in worktrees: CLAUDE.md. Commit it if features need it.",
    )  # fmt: skip
    (repository / ".gitmodules").write_text("")
    commit(repository)
    assert "leaves submodules empty in a new worktree" in tree(repository)[-1][1]
    assert len(tree(repository)) == 2


def branch(repository):
    ((verdict, text),) = looked(environment_checks.check_branches(str(repository), "batch-1", BRANCH))
    return verdict, text


def test_the_batchs_branch_may_be_new_or_on_one_line_with_head(repository):
    assert branch(repository) == (doctor.OK, f"{BRANCH} will start at HEAD")
    head = git(repository, "rev-parse", "HEAD")
    git(repository, "branch", BRANCH)
    assert branch(repository) == (doctor.OK, f"{BRANCH} is at HEAD")
    later = commit(repository, a="1")
    assert branch(repository) == (doctor.OK, f"{BRANCH} is behind HEAD and will be fast-forwarded")
    assert environment_checks.get_start_commit(str(repository), BRANCH) == later
    git(repository, "reset", "-q", "--hard", head)
    git(repository, "branch", "-f", BRANCH, later)
    assert branch(repository) == (doctor.OK, f"{BRANCH} is ahead of HEAD: it has the results so far")
    assert environment_checks.get_start_commit(str(repository), BRANCH) == later
    commit(repository, b="1")
    verdict, text = branch(repository)
    assert (verdict, f"`git merge {BRANCH}`" in text) == (doctor.ERROR, True)


def test_what_the_night_before_did_and_head_does_not_have_is_worth_a_look(night, repository):
    before = begun({**new_batch(1), "batch_id": "batch-0"}, branch="batch/batch-0/merged")
    git_client.exclude_state_file(str(repository))
    Store(Project(str(repository))).create(before)
    assert len(night()["branch"]) == 1
    git(repository, "branch", "batch/batch-0/merged", commit(repository, a="1"))
    assert len(night()["branch"]) == 1
    git(repository, "reset", "-q", "--hard", "HEAD~1")
    verdict, text = night()["branch"][1]
    assert verdict == doctor.WARNING and "`git merge batch/batch-0/merged` merges them" in text


@pytest.mark.parametrize("name", ["batch", "batch/batch-1"])
def test_a_branch_where_a_folder_of_branches_has_to_be_is_bad(repository, name):
    git(repository, "branch", name)
    verdict, text = branch(repository)
    assert (verdict, f"`git branch -m {name} {name}-old`" in text) == (doctor.ERROR, True)
    git(repository, "pack-refs", "--all")
    assert branch(repository) == (verdict, text)


def test_the_batchs_branch_must_not_be_checked_out(repository):
    git(repository, "switch", "-q", "-c", BRANCH)
    verdict, text = branch(repository)
    assert (verdict, f"is checked out in {repository}" in text) == (doctor.ERROR, True)


def test_a_batch_id_that_git_takes_in_no_branch_is_bad(repository):
    results = looked(environment_checks.check_branches(str(repository), "night.lock", "batch/night.lock/merged"))
    assert (results[0][0], "with another id" in results[0][1]) == (doctor.ERROR, True)


# -- room --------------------------------------------------------------------------------------------------------------


def folder(repository, place):
    ((verdict, text),) = looked(environment_checks.check_worktrees_folder(str(repository), str(place)))
    return verdict, text


def test_work_trees_go_outside_of_the_project_where_one_can_write(repository, tmp_path, monkeypatch):
    assert folder(repository, f"{repository}.worktrees")[0] == doctor.OK
    assert folder(repository, tmp_path / "not/there/yet")[0] == doctor.OK
    for inside in (repository, repository / "trees", repository / ".git/trees"):
        verdict, text = folder(repository, inside)
        assert (verdict, "is inside the project" in text) == (doctor.ERROR, True)
    (tmp_path / "link").symlink_to(repository)
    assert folder(repository, tmp_path / "link" / "trees")[0] == doctor.ERROR
    (tmp_path / "file").write_text("")
    assert "is not a folder" in folder(repository, tmp_path / "file" / "trees")[1]
    monkeypatch.setattr(os, "access", lambda path, mode: False)
    assert "cannot be written to" in folder(repository, tmp_path / "trees")[1]


def test_room_is_needed_for_each_client(repository, monkeypatch):
    head = git(repository, "rev-parse", "HEAD")
    assert environment_checks.measure_tree_bytes(str(repository), head) == len("# scratch\n")

    def room(tree_mb, jobs, **more):
        count = environment_checks.count_worktrees(jobs)  # one of each worker, one of each verify, the merge queue's
        where = (str(repository), count, "--jobs", "give another")
        return looked(environment_checks.check_disk_space(tree_mb, *where, **more))

    assert verdicts(room(0.1, 2)) == [doctor.OK]
    monkeypatch.setattr(shutil, "disk_usage", lambda path: shutil._ntuple_diskusage(0, 0, 95 * 10**8))
    assert verdicts(room(1000, 1)) == [doctor.OK]
    ((verdict, text),) = room(1000, 2)
    assert (verdict, "9.5 GB free" in text, "may take 13.0 GB" in text) == (doctor.ERROR, True, True)
    ((verdict, text),) = room(1000, 1, setup_mb=500)
    assert (verdict, "and 500 MB of the setup command" in text, "may take 11.0 GB" in text) == (
        doctor.ERROR,
        True,
        True,
    )
    assert "fewer" not in text


def test_the_size_of_a_tree_is_that_of_its_files_whatever_they_are_called(repository):
    (repository / "with a space.txt").write_text("12345")
    git(repository, "add", ".")
    git(repository, "commit", "-qm", "x")
    assert environment_checks.measure_tree_bytes(str(repository), "HEAD") == len("# scratch\n") + 5


@pytest.mark.parametrize(
    ("free", "jobs", "verdict"),
    [(None, 9, "ok"), (500, 1, "error"), (700, 1, "ok"), (1300, 3, "warn"), (9000, 4, "ok")],
)
def test_memory_is_needed_for_each_client(monkeypatch, free, jobs, verdict):
    monkeypatch.setattr(environment_checks, "read_available_mb", lambda: free)
    results = list(environment_checks.check_memory(jobs))
    assert [entry[0] for entry in results] == [verdict]
    if verdict == "warn":
        assert "(2 would fit)" in results[0][1]


def test_what_a_container_may_take_counts_when_it_is_less(tmp_path):
    (tmp_path / "meminfo").write_text("MemTotal: 16000000 kB\nMemAvailable:    8000000 kB\n")

    def have():
        return environment_checks.read_available_mb(str(tmp_path / "meminfo"), str(tmp_path))

    assert have() == 8000
    (tmp_path / "memory.max").write_text("max\n")
    (tmp_path / "memory.current").write_text("900000000\n")
    assert have() == 8000
    (tmp_path / "memory.max").write_text("2000000000\n")
    (tmp_path / "memory.stat").write_text("anon 1\nfile 400000000\n")
    assert have() == 1500
    (tmp_path / "meminfo").unlink()
    (tmp_path / "memory.max").unlink()
    assert have() is None


# -- the batch, its limits, the client ---------------------------------------------------------------------------------


def features(state, **chosen):
    return looked(preflight_checks._check_features(state, options.with_defaults(Options(**chosen), "/p")))


def test_something_has_to_be_left_to_do():
    assert features(new_batch(2)) == [(doctor.OK, "2 to do; all dependencies are known and in order")]
    assert "1 of 2 done, 1 to do" in features(completed(new_batch(2)))[0][1]
    over = given_up(completed(new_batch(2)))
    ((verdict, text),) = features(over)
    assert (verdict, "`batchctl retry`" in text) == (doctor.ERROR, True)


def test_a_batch_that_somebody_is_at_is_bad_and_one_whose_run_is_dead_is_not():
    ((verdict, text), _) = features(new_batch(2, owner=owner()))
    assert (verdict, "in use by" in text) == (doctor.ERROR, True)
    dead = begun(new_batch(2))
    spot = {"base": "b", "branch": "x", "worktree": "/w", "session_id": "s", "place": "here"}
    dead = run_transitions.dispatch(dead, NOW, 1, **spot)
    dead["owner"] = {**dead["owner"], "pid": None}
    assert features(dead) == [(doctor.OK, "2 to do; all dependencies are known and in order")]


def test_a_review_cannot_be_had_from_a_command():
    reviewed = new_batch(2, evidence=["commit", "review"])
    assert verdicts(preflight_checks._check_features(reviewed, Options())) == [doctor.OK]
    assert "which --worker cannot give" in features(reviewed, worker="true")[0][1]


def limits(state=None, **chosen):
    return looked(preflight_checks._check_limits(state or new_batch(2), options.with_defaults(Options(**chosen), "/p")))


def test_the_limits_are_told_as_they_were_typed():
    assert limits() == [(doctor.OK, "a client has 2 h; no limit on the cost")]
    ((_, text),) = limits(
        feature_time=1800, feature_turns=50, feature_cost=2.5, max_time=28_800, max_cost=20, max_wait=5400
    )
    assert text == (
        "a client has 30 min, 50 turns, $2.50; no feature starts after 8 h; no feature starts after $20.00 are spent; "
        "at most 1 h 30 min of waiting"
    )


def test_a_limit_that_is_reached_before_the_run_begins_is_bad():
    spent = begun(new_batch(2))
    spent["run"]["spent"].update(cost_usd=5.0, waited_s=3600)
    assert "has cost $5.00 already. Give more than --max-cost 5.00" in limits(spent, max_cost=5.0)[0][1]
    assert "has waited 1 h already" in limits(spent, max_wait=1800)[0][1]
    assert [verdict for verdict, _ in limits(spent, max_cost=5.01, max_wait=3601)] == [doctor.OK]


def test_limits_that_do_not_fit_each_other_are_worth_a_look():
    assert limits(max_time=3600)[0][0] == doctor.WARNING
    long = new_batch(2, verify="make test", verify_timeout_s=9000)
    assert "may take 2 h 30 min, a client has 2 h in all" in limits(long)[0][1]


def permissions_for(repository, state, **chosen):
    chosen = options.with_defaults(Options(**chosen), "/p")
    return looked(preflight_checks._check_permissions(Project(str(repository)), state, chosen, os.environ))


def test_a_client_that_may_not_try_its_work_is_worth_a_look(repository):
    state = new_batch(2, verify="make lint && 'my tests' --all && pytest -q tests")
    ((good, _), (verdict, text)) = permissions_for(repository, state)
    assert (good, verdict) == (doctor.OK, doctor.WARNING)
    assert "not run every variant" in text and "Allow that with `--allow 'Bash(pytest:*)'`." in text
    assert len(permissions_for(repository, state, permission_mode="auto")) == 1
    assert len(permissions_for(repository, state, allow=["Bash(pytest:*)"])) == 1
    assert len(permissions_for(repository, new_batch(2, verify="make lint && cargo test --all"))) == 1
    assert "Put it into a script" in permissions_for(repository, new_batch(2, verify="if true; then make; fi"))[1][1]
    assert len(permissions_for(repository, new_batch(2))) == 1
    (repository / ".claude").mkdir()
    (repository / ".claude/settings.json").write_text(json.dumps({"permissions": {"deny": ["Bash(make:*)"]}}))
    assert "(deny Bash(make:*) in " in permissions_for(repository, state)[1][1]
    (repository / ".claude/settings.json").write_text(json.dumps({"permissions": {"deny": ["Bash(git add:*)"]}}))
    assert permissions_for(repository, state)[0][0] == doctor.ERROR


def test_what_a_project_that_is_not_trusted_allows_does_not_count(repository, tmp_path, monkeypatch):
    state = new_batch(2, verify="pytest -q tests")
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    (repository / ".claude").mkdir()
    (repository / ".claude/settings.json").write_text(json.dumps({"permissions": {"allow": ["Bash(pytest:*)"]}}))
    _, (look, text), (_, remedy) = permissions_for(repository, state)
    assert look == doctor.WARNING and f"because {repository} is not trusted: start `claude` there" in text
    assert "Allow that with `--allow 'Bash(pytest:*)'`." in remedy
    bypassed = permissions_for(repository, state, permission_mode="bypassPermissions")
    assert not any("is not trusted" in text for _, text in bypassed)
    (tmp_path / "home").mkdir()
    trusted = {"projects": {str(repository): {"hasTrustDialogAccepted": True}}}
    (tmp_path / "home/.claude.json").write_text(json.dumps(trusted))
    assert len(permissions_for(repository, state)) == 1


def test_a_mode_that_the_client_would_refuse_is_bad(repository, monkeypatch):
    mode = {"permission_mode": "bypassPermissions"}
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    assert "refuses the mode bypassPermissions to root" in permissions_for(repository, new_batch(2), **mode)[1][1]
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    assert len(permissions_for(repository, new_batch(2), **mode)) == 1
    (repository / ".claude").mkdir()
    off = {"permissions": {"disableBypassPermissionsMode": "disable"}}
    (repository / ".claude/settings.json").write_text(json.dumps(off))
    assert "disables the mode bypassPermissions" in permissions_for(repository, new_batch(2), **mode)[1][1]


def login(repository):
    program = shutil.which("claude")
    results = looked(preflight_checks.check_login(str(repository), program, os.environ))
    assert len(results) == 1
    return results[0]


def test_whether_the_client_is_logged_in_is_asked_of_it(night, repository, monkeypatch):
    assert login(repository) == (
        doctor.OK, "logged in (api key); the first turn shows whether the login is still accepted",
    )  # fmt: skip
    monkeypatch.setenv("FAKE_AUTH", '{"loggedIn": false}')
    assert "`claude auth login`" in login(repository)[1]
    for answer in ("", "error: unknown command", "[]", '{"loggedIn": "yes"}'):
        monkeypatch.setenv("FAKE_AUTH", answer)
        assert login(repository)[0] == doctor.WARNING
    monkeypatch.setenv("FAKE_VERSION", "2.1.197")
    monkeypatch.setenv("FAKE_AUTH", '{"loggedIn": true}')
    assert "is not checked" in login(repository)[1]


def test_a_client_that_is_not_there_is_told_by_the_name_it_was_given(night):
    ((verdict, text),) = night(client="/no/such/claude")["client"]
    assert (verdict, text.startswith("/no/such/claude does not start")) == (doctor.ERROR, True)


# -- the temporary worktree --------------------------------------------------------------------------------------------


@pytest.fixture
def tried(repository, tmp_path):
    """What the trial of a verify command finds; afterwards nothing is left of it."""
    place = tmp_path / "trees" / "batch-1" / "preflight"

    def look(verify="true", timeout_s=60, feature_time_s=7200):
        head = git(repository, "rev-parse", "HEAD")
        before = git(repository, "for-each-ref")
        results = looked(
            verify_check.check_verify(
                str(repository), head, str(place), verify, timeout_s=timeout_s, feature_time_s=feature_time_s
            )
        )
        assert git(repository, "worktree", "list").count("\n") == 0
        assert git(repository, "for-each-ref") == before
        assert git(repository, "rev-parse", "HEAD") == head
        return results

    return look


def test_the_verify_command_runs_on_the_commit_and_not_in_the_persons_tree(tried, repository):
    (repository / "only here.txt").write_text("")
    (repository / "README.md").write_text("changed")
    check = f"grep -q scratch README.md && ! test -e 'only here.txt' && test $PWD != '{repository}' && touch left"
    assert [verdict for verdict, _ in tried(check)] == [doctor.OK]
    assert not (repository / "left").exists()
    assert tried(None)[0][0] == doctor.WARNING


def test_a_verify_command_that_fails_shows_the_end_of_what_it_said_and_the_likely_cause(tried, repository):
    ((verdict, text),) = tried("echo no such module; exit 3")
    assert (verdict, "(exit status 3)" in text, text.endswith("> no such module")) == (doctor.ERROR, True, True)
    assert "needs something there that is not committed" in text
    (repository / "node_modules").mkdir()
    assert "Your working tree has node_modules, which git ignores" in tried("exit 1")[0][1]


def test_a_verify_command_that_does_not_end_is_ended(tried, tmp_path):
    ((verdict, text),) = tried(f"sleep 300 & echo $! > '{tmp_path}/pid'; wait", timeout_s=1)
    assert (verdict, "did not end within 1 s" in text) == (doctor.ERROR, True)
    assert not os.path.exists(f"/proc/{(tmp_path / 'pid').read_text().strip()}/exe")


def test_a_verify_command_that_takes_longer_than_a_client_has_is_bad(tried):
    ((verdict, text),) = tried("sleep 0.1", feature_time_s=0)
    assert (verdict, "`--feature-time`" in text) == (doctor.ERROR, True)


def test_a_verify_command_that_changes_tracked_files_is_worth_a_look(tried):
    results = tried("echo x > README.md; echo y > new")
    assert [verdict for verdict, _ in results] == [doctor.WARNING, doctor.OK]
    assert "README.md" in results[0][1]
    assert "new" not in results[0][1].split(":")[1].split(".")[0]


def hook(repository, script):
    path = repository / ".git/hooks/pre-commit"
    path.parent.mkdir(exist_ok=True)
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)


def test_a_commit_hook_that_refuses_in_a_new_work_tree_is_worth_a_look(tried, repository):
    hook(repository, "echo 'lint-staged: not found' >&2; exit 1")
    results = tried()
    assert [verdict for verdict, _ in results] == [doctor.WARNING, doctor.OK]
    assert "lint-staged: not found" in results[0][1]


def test_a_commit_that_cannot_be_signed_or_waits_is_bad(tried, repository, monkeypatch):
    git(repository, "config", "commit.gpgSign", "true")
    git(repository, "config", "gpg.program", "false")
    assert "`git config commit.gpgSign false`" in tried()[0][1]
    git(repository, "config", "commit.gpgSign", "false")
    hook(repository, "sleep 20")
    monkeypatch.setattr(verify_check, "COMMIT_S", 0.5)
    assert "a git hook or commit signing waits for input" in tried()[0][1]


def test_a_work_tree_that_cannot_be_made_is_bad(tried, repository, tmp_path):
    (tmp_path / "trees/batch-1/preflight").mkdir(parents=True)
    (tmp_path / "trees/batch-1/preflight/mine").write_text("x")
    ((verdict, text),) = tried()
    assert (verdict, "already exists and is not a worktree" in text) == (doctor.ERROR, True)
    assert (tmp_path / "trees/batch-1/preflight/mine").read_text() == "x"


# -- what a dry run shows ----------------------------------------------------------------------------------------------


def test_a_dry_run_shows_order_dependencies_what_runs_side_by_side_and_limits():
    state = new_batch(["add a", "add \x1b[1mb", "c " + "x" * 200, "d"], needs={2: [0, 1]}, order=[1, 0, 2, 3])
    state["details"] = {"0": {"touches": ["src/"]}, "3": {"touches": ["src/x.py"]}}
    chosen = options.with_defaults(Options(jobs=3, merge=True, pr="feature", max_cost=5.0), "/p")
    lines = preflight_checks.format_dry_run(state, [{"check": "git", "verdict": "ok", "text": "git 2"}], chosen).split(
        "\n"
    )
    assert lines == [
        "ok     git          git 2",
        "",
        "Batch batch-1: 4 of 4 features to do, up to 3 at a time.",
        "   2  add [1mb",
        "   1  add a  (not in parallel with 4)",
        f"   3  c {'x' * 95}...  (needs 1, 2)",
        "   4  d  (not in parallel with 1)",
        "In parallel, if all take equally long: 2, 1 | 3, 4",
        "Limits: a client has 2 h; no feature starts after $5.00 are spent; 3 retries of a feature; a pause after 5 "
        "failures in a row.",
        "Done by: claude in mode acceptEdits, each in a worktree below /p.worktrees.",
        "Merged into: batch/batch-1/merged; merged into your branch at the end, a pull request for each feature.",
        "Nothing was written or started.",
    ]


def test_a_dry_run_of_a_batch_under_way_shows_what_is_left():
    state = completed(new_batch(3))
    text = preflight_checks.format_dry_run(
        state, [{"check": "git", "verdict": "error", "text": "x"}], options.with_defaults(Options(), "/p")
    )
    assert "2 of 3 features to do, up to 1 at a time" in text
    assert "   1  feature 1" not in text
    assert "In parallel" not in text
    assert text.endswith("The run could not start: see the errors above.\nNothing was written or started.")


def test_a_dry_run_looks_at_each_feature_a_few_times_however_many_there_are(monkeypatch):
    seen = []
    monkeypatch.setattr(
        run_transitions, "touched_paths", lambda state, index: seen.append(index) or state["details"][str(index)]
    )
    for shared in (1, 50, 400):  # that many features on each path
        state = new_batch(400)
        state["details"] = {str(index): [f"src/m{index // shared}"] for index in range(400)}
        seen.clear()
        text = preflight_checks.format_dry_run(state, [], options.with_defaults(Options(jobs=8), "/p"))
        assert len(seen) <= 40 * 400, "the looks grow faster than the features"
        assert ("not in parallel" in text) == (shared > 1)
    assert "   9  feature 9  (not in parallel with 1, 2, 3, 4, 5 and others)" in text


def test_of_many_rounds_the_first_are_shown():
    text = preflight_checks.format_dry_run(new_batch(100), [], options.with_defaults(Options(jobs=2), "/p"))
    (line,) = (line for line in text.split("\n") if line.startswith("In parallel"))
    assert line.endswith(f" | {2 * preflight_checks.MAX_ROUNDS - 1}, {2 * preflight_checks.MAX_ROUNDS} | ...")


def test_rounds_are_those_that_one_gets_by_looking_at_every_feature_in_every_round():
    chance = random.Random(7)
    for _ in range(60):
        number, jobs = chance.randint(1, 12), chance.randint(1, 4)
        order = chance.sample(range(number), number)
        needs = {order[at]: chance.sample(order[:at], chance.randint(0, min(at, 2))) for at in range(number)}
        state = new_batch([f"f{index}" for index in range(number)], needs=needs, order=order)
        state["details"] = {
            str(index): {"touches": chance.sample(["a", "a/b", "c"], 1)} for index in range(0, number, 2)
        }
        left, rounds = list(order), []
        while left:
            now = []
            for index in left:
                touched = [(each, run_transitions.touched_paths(state, each)) for each in [index, *now]]
                apart = not path_conflicts.find_conflicts(touched, 1)[index]
                if len(now) < jobs and apart and not set(needs[index]) & set(left):
                    now.append(index)
            rounds.append(now)
            left = [index for index in left if index not in now]
        assert list(preflight_checks._plan_rounds(state, jobs)) == rounds


def test_rounds_end_where_what_is_left_needs_what_failed():
    state = new_batch(3, needs={2: [1]})
    assert list(preflight_checks._plan_rounds(state, 1)) == [[0], [1], [2]]
    assert list(preflight_checks._plan_rounds(state, 9)) == [[0, 1], [2]]
    assert list(preflight_checks._plan_rounds(given_up(completed(state)), 9)) == []


def test_with_a_cluster_only_the_merge_queues_worktrees_need_room_here(night, monkeypatch):
    monkeypatch.setattr(environment_checks, "measure_tree_bytes", lambda root, commit: 10**9)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: shutil._ntuple_diskusage(0, 0, 6 * 10**9))
    ((verdict, text),) = night(jobs=500)["disk"]
    assert (verdict, "1002 worktrees" in text, "fewer --jobs" in text) == (doctor.ERROR, True, True)
    ((verdict, text),) = night(jobs=500, cluster="tls://scheduler:8786")["disk"]
    assert (verdict, "2 worktrees of 1.0 GB" in text) == (doctor.OK, True)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: shutil._ntuple_diskusage(0, 0, 10**9))
    ((verdict, text),) = night(jobs=500, cluster="tls://scheduler:8786")["disk"]
    assert (verdict, "--jobs" in text) == (doctor.ERROR, False)


# -- the setup command -------------------------------------------------------------------------------------------------


def with_setup(command, verify="true"):
    state = new_batch(2, verify=verify)
    return {**state, "policy": {**state["policy"], "setup": command}}


def test_the_setup_command_is_timed_and_measured_and_verify_runs_after_it(night, repository, tmp_path):
    commit(repository, **{"x": "x"})
    (repository / ".gitignore").write_text("/deps/\n")
    git(repository, "add", ".gitignore")
    git(repository, "commit", "-qm", "Ignore")
    setup = f"echo $BATCH_SLOT >> '{tmp_path}/setups'; mkdir deps; head -c 3000000 /dev/zero > deps/blob"
    results = night(with_setup(setup, "test -s deps/blob"))
    ((verdict, text),) = results["setup"]
    assert verdict == doctor.OK and "prepares a worktree in" in text and "makes 3 MB there" in text
    assert results["verify"][-1][0] == doctor.OK
    assert (tmp_path / "setups").read_text() == "0\n"
    assert not (tmp_path / "repository.worktrees").exists()


def test_a_setup_command_that_fails_is_an_error_and_verify_is_not_tried(night, tmp_path):
    results = night(with_setup("echo no compiler; exit 3", f"touch '{tmp_path}/verified'"))
    ((verdict, text),) = results["setup"]
    assert verdict == doctor.ERROR and "failed with exit status 3: no compiler" in text and REMEDY.search(text)
    assert results["verify"] == [(doctor.WARNING, "not tried because of the errors above")]
    assert not (tmp_path / "verified").exists() and not (tmp_path / "repository.worktrees").exists()


def test_what_a_setup_command_leaves_that_git_does_not_ignore_is_an_error(night):
    results = night(with_setup("mkdir .venv; touch .venv/x; echo changed > README.md"))
    assert [verdict for verdict, _ in results["setup"]] == [doctor.ERROR, doctor.WARNING]
    assert "leaves files that git does not ignore: .venv/." in results["setup"][0][1]
    assert "changes tracked files, which are put back: README.md" in results["setup"][1][1]


def test_what_setup_makes_in_every_worktree_has_to_fit_on_the_disk(night, repository, monkeypatch):
    (repository / ".gitignore").write_text("/deps/\n")
    git(repository, "add", ".gitignore")
    git(repository, "commit", "-qm", "Ignore")
    monkeypatch.setattr(shutil, "disk_usage", lambda path: shutil._ntuple_diskusage(0, 0, 1030 * 10**6))
    results = night(with_setup("mkdir deps; head -c 3000000 /dev/zero > deps/blob"))
    assert results["disk"][0][0] == doctor.OK
    verdict, text = results["setup"][-1]
    assert verdict == doctor.ERROR and "4 worktrees of" in text and "and 3 MB of the setup command" in text


def test_an_environment_of_the_setup_command_that_leads_back_to_the_users_tree_is_an_error(night, repository):
    (repository / ".gitignore").write_text("/.venv/\n")
    git(repository, "add", ".gitignore")
    git(repository, "commit", "-qm", "Ignore")
    make = "mkdir -p .venv/lib/python3/site-packages; touch .venv/pyvenv.cfg; "
    file = ".venv/lib/python3/site-packages/project.pth"
    ((verdict, text),) = night(with_setup(f"{make} echo '{repository}/src' > {file}"))["setup"]
    assert verdict == doctor.ERROR and f"The setup command makes {file}, by which Python imports the project" in text
    ((verdict, _),) = night(with_setup(f'{make} echo "$PWD/src" > {file}'))["setup"]
    assert verdict == doctor.OK
