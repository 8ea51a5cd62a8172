"""Where the library interface finds the project, which paths it takes, its audit log, and how it is imported."""

from __future__ import annotations

import importlib
import json
import os
import subprocess
import sys
from pathlib import Path

import batch_state_manager as library
import path_utils
import pytest
import security_utils
from batch_implement.base.project_paths import find_project
from batch_implement.store import audit_log
from batch_state_manager import BatchStateError
from batches import ROOT, files_in, git, run_program
from path_utils import find_project_root, get_batch_state_file, get_project_root
from security_utils import validate_path


@pytest.fixture(autouse=True)
def project(repository: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(repository)
    path_utils.reset_project_root_cache()
    return repository


@pytest.fixture
def bare(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder outside of any project, the working directory."""
    path = tmp_path.resolve() / "bare"
    path.mkdir()
    monkeypatch.chdir(path)
    return path


# -- the root ---------------------------------------------------------------------------------------------------------


def test_the_root_is_that_of_batchctl_from_any_depth(project, monkeypatch):
    deep = project / "a/b/c/d/e/f/g/h/i/j/k/l"
    deep.mkdir(parents=True)
    monkeypatch.chdir(deep)
    assert get_project_root() == project == Path(find_project(os.environ, os.getcwd()).root)
    assert get_batch_state_file() == library.DEFAULT_STATE_FILE == project / ".claude" / "batch_state.json"
    assert not (project / ".claude").exists()


def test_a_far_git_wins_over_a_nearer_claude_and_markers_count_in_their_order(project, monkeypatch):
    (project / "sub/.claude").mkdir(parents=True)
    monkeypatch.chdir(project / "sub")
    assert find_project_root() == project
    assert find_project_root([".claude"]) == project / "sub"
    assert find_project_root([".claude", ".git"], start_path=str(project / "sub")) == project / "sub"
    assert find_project_root(start_path=project / "sub" / "not there") == project


def test_the_clients_own_configuration_is_no_sign_of_a_project(bare, monkeypatch):
    monkeypatch.setenv("HOME", str(bare.parent))
    (bare.parent / ".claude").mkdir()
    for call in (get_project_root, get_batch_state_file, find_project_root, lambda: find_project_root([".claude/"])):
        with pytest.raises(FileNotFoundError, match=f"Could not find project root.*{bare}"):
            call()
    assert library.get_default_state_file() == library.DEFAULT_STATE_FILE == Path(".claude/batch_state.json")


def test_what_the_client_says_of_the_project_counts(project, bare, monkeypatch):
    monkeypatch.setenv("CLAUDE_PROJECT_DIR", str(project))
    assert get_project_root() == find_project_root() == project
    (project / "root").mkdir()
    monkeypatch.setenv("BATCH_IMPLEMENT_ROOT", str(project / "root"))
    assert get_project_root() == project / "root" == Path(find_project(os.environ, os.getcwd()).root)
    assert find_project_root() == project / "root"
    assert find_project_root([".git"]) == find_project_root(start_path=project / "root") == project


def test_the_cache_does_not_outlive_a_change_of_the_working_directory_or_the_environment(project, bare, monkeypatch):
    monkeypatch.chdir(project)
    assert get_project_root() == project
    (bare / ".git").mkdir()
    monkeypatch.chdir(bare)
    assert get_project_root() == bare
    monkeypatch.setenv("CLAUDE_PROJECT_DIR", str(project))
    assert get_project_root() == project


def test_the_cache_is_used_unless_it_is_declined_or_reset(project, monkeypatch):
    (project / "sub").mkdir()
    monkeypatch.chdir(project / "sub")
    assert get_project_root() == project
    (project / "sub/.git").mkdir()
    assert get_project_root() == project
    path_utils.reset_project_root_cache()
    assert get_project_root() == get_project_root(use_cache=False) == project / "sub"


def test_a_working_directory_that_was_removed_is_told(bare):
    bare.rmdir()
    with pytest.raises(FileNotFoundError, match="Could not find project root"):
        get_project_root()
    assert library.get_default_state_file() == Path(".claude/batch_state.json")
    with pytest.raises(BatchStateError):
        library.load_batch_state("state.json")
    security_utils.audit_log("event", "status", {})


# -- which paths ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", ["docs/./a.md", "docs//a.md", "./docs/a.md", "a b/ü.md", "-x", "."])
def test_a_path_in_the_project_is_handed_back_whole(project, path):
    assert validate_path(path, "notes", allow_missing=True) == project / path
    assert validate_path(project / path, "notes", allow_missing=True, test_mode=False) == project / path


def test_a_path_in_the_clients_home_folder_is_fine(scratch_home):
    assert validate_path(scratch_home / ".claude/plans/x.md", "plan", allow_missing=True)


@pytest.mark.parametrize(
    ("path", "fragment"),
    [
        ("../x", "Path traversal"),
        ("a/../x", "Path traversal"),
        ("..%2F..%2Fetc", "Path traversal"),
        ("/tmp/../../etc/passwd", "Path traversal"),
        ("/etc/passwd", "Path outside allowed locations"),
        ("/", "Path outside allowed locations"),
        ("~/x/../y", "Path traversal"),
        ("x" * 5000, "Path too long"),
        ("x" * 300, "Path too long"),
        ("a\0b", "control characters"),
        ("a\nb", "control characters"),
        ("a\u202eb", "control characters"),
        ("", "Invalid path"),
        (None, "Invalid path"),
        (b"x", "Invalid path"),
    ],
)
def test_another_path_is_a_value_error_that_says_what_it_was_for(path, fragment):
    with pytest.raises(ValueError, match=f"{fragment}.*Purpose: the notes. Allowed: "):
        validate_path(path, "the notes", allow_missing=True)


def test_a_path_outside_names_the_places_that_are_allowed(project, scratch_home):
    with pytest.raises(ValueError) as caught:
        validate_path("/etc/passwd", "notes")
    assert str(project) in str(caught.value) and str(scratch_home / ".claude") in str(caught.value)


def test_no_environment_variable_and_no_test_mode_widens_what_is_allowed(monkeypatch, tmp_path):
    assert "PYTEST_CURRENT_TEST" in os.environ
    for name in ("PYTEST_CURRENT_TEST", "TEST_MODE", "CI", "TMPDIR"):
        monkeypatch.setenv(name, str(tmp_path))
    for mode in (None, True, False):
        with pytest.raises(ValueError, match="outside"):
            validate_path(tmp_path / "elsewhere.json", "notes", allow_missing=True, test_mode=mode)


def test_a_missing_path_is_refused_unless_it_may_be_missing(project):
    with pytest.raises(ValueError, match="not found"):
        validate_path("nothing.md", "notes")
    (project / "something.md").touch()
    assert validate_path("something.md", "notes") == project / "something.md"


@pytest.mark.parametrize("where", ["file", "dangling", "folder", "inner", "loop"])
def test_a_link_anywhere_along_the_way_is_refused(project, where):
    (project / "real/deep").mkdir(parents=True)
    (project / "real/deep/a.md").touch()
    targets = {"file": "real/deep/a.md", "dangling": "nowhere", "folder": "real", "inner": ".", "loop": "link"}
    (project / "link").symlink_to(targets[where])
    path = {"folder": "link/deep/a.md", "inner": "link/real/deep/a.md"}.get(where, "link")
    for call in (
        lambda: validate_path(path, "notes", allow_missing=True),
        lambda: library.load_batch_state(path),
        lambda: library.save_batch_state(path, library.create_batch_state(["a"])),
        lambda: library.BatchStateManager(path),
    ):
        with pytest.raises(ValueError, match="symlink"):
            call()


def test_a_link_to_the_project_itself_may_lead_there(project, tmp_path, monkeypatch):
    alias = tmp_path / "alias"
    alias.symlink_to(project)
    assert validate_path(alias / "a.md", "notes", allow_missing=True) == project / "a.md"
    monkeypatch.setenv("CLAUDE_PROJECT_DIR", str(alias))
    library.save_batch_state(alias / ".claude/batch_state.json", library.create_batch_state(["a"]))
    library.update_batch_progress(project / ".claude/batch_state.json", 0, "completed")
    assert library.load_batch_state(library.get_default_state_file()).status == "completed"


@pytest.mark.parametrize("name", ["my..project", "my.batch-implement", ".git-tools"])
def test_a_project_with_a_name_that_no_file_in_it_may_have_can_be_used(tmp_path, monkeypatch, name):
    path = tmp_path.resolve() / name
    (path / ".git").mkdir(parents=True)
    monkeypatch.chdir(path)
    library.save_batch_state(library.get_default_state_file(), library.create_batch_state(["a"]))
    with pytest.raises(ValueError, match="traversal"):
        validate_path(path / "a..b", "notes", allow_missing=True)


def test_a_refused_path_of_a_state_is_a_batch_state_error_and_a_value_error():
    for call in (
        library.load_batch_state,
        library.cleanup_batch_state,
        lambda path: library.update_batch_progress(path, 0, "completed"),
        lambda path: library.save_batch_state(path, library.create_batch_state(["a"])),
    ):
        with pytest.raises(BatchStateError, match="outside") as caught:
            call("/etc/state.json")
        assert isinstance(caught.value, ValueError)


def test_a_refused_path_is_in_the_audit_log_but_makes_no_folder_of_ours(project, bare, monkeypatch):
    with pytest.raises(ValueError):
        validate_path("/etc/passwd", "notes")
    assert list(bare.iterdir()) == []
    monkeypatch.chdir(project)
    with pytest.raises(ValueError):
        validate_path("/etc/passwd", "the notes")
    assert "the notes" in (project / ".git/batch-implement/audit.jsonl").read_text()


# -- state files that are not the project's own -----------------------------------------------------------------------


def test_a_relative_state_file_counts_from_the_root(project, monkeypatch):
    (project / "sub").mkdir()
    monkeypatch.chdir(project / "sub")
    library.save_batch_state("work/state.json", library.create_batch_state(["a"]))
    assert (project / "work/state.json").exists()


def test_an_explicit_file_is_sealed_in_the_git_folder_and_survives_a_cleaned_tree(project):
    library.save_batch_state("work/state.json", library.create_batch_state(["a"]))
    git(project, "clean", "-fdxq")
    assert not (project / "work").exists()
    with pytest.raises(BatchStateError, match=r"not found.*its batch counts as withdrawn"):
        library.load_batch_state("work/state.json")
    assert list((project / ".git/batch-implement/files").glob("*/archive/batch-*.json"))


def test_outside_of_git_the_private_folder_lies_beside_the_file(bare):
    state = library.create_batch_state(["a", "b"])
    library.save_batch_state(bare / "state.json", state)
    library.update_batch_progress("state.json", 1, "completed")
    assert library.load_batch_state("state.json").current_index == 0
    assert {name.split("/")[0] for name in files_in(bare)} == {"state.json", ".state.json.batch-implement"}
    library.save_batch_state(library.get_default_state_file(), library.create_batch_state(["c"]))
    assert (bare / ".claude/batch-implement/sidecar").exists()


def test_the_state_of_a_nested_repository_is_served_as_its_own_hooks_serve_it(project):
    nested = project / "nested"
    nested.mkdir()
    git(nested, "init", "-q")
    library.save_batch_state(nested / ".claude/batch_state.json", library.create_batch_state(["a"]))
    assert (nested / ".git/batch-implement/sidecar").exists()
    git(nested, "add", "-A")
    assert git(nested, "status", "--porcelain") == ""


def test_a_linked_work_tree_keeps_its_batch_and_commits_nothing(project, tmp_path, monkeypatch):
    tree = tmp_path / "tree"
    git(project, "worktree", "add", "-q", str(tree))
    monkeypatch.chdir(tree)
    library.save_batch_state(library.get_default_state_file(), library.create_batch_state(["a"]))
    library.save_batch_state("work/state.json", library.create_batch_state(["b"]))
    git(tree, "add", "-A")
    assert git(tree, "status", "--porcelain") == "" and not (project / ".claude").exists()


def test_a_root_below_the_top_of_the_repository_commits_nothing_either(project, monkeypatch):
    (project / "sub").mkdir()
    monkeypatch.setenv("BATCH_IMPLEMENT_ROOT", str(project / "sub"))
    library.save_batch_state(library.get_default_state_file(), library.create_batch_state(["a"]))
    monkeypatch.delenv("BATCH_IMPLEMENT_ROOT")
    library.update_batch_progress("sub/.claude/batch_state.json", 0, "completed")
    git(project, "add", "-A")
    assert git(project, "status", "--porcelain") == ""
    assert not (project / ".git/batch-implement/files").exists()  # one file, one lock


def test_an_audit_log_in_the_work_tree_is_not_committed_either(project, monkeypatch):
    def refused() -> None:
        with pytest.raises(ValueError):
            validate_path("/etc/passwd", "notes")

    calls = (
        refused,
        lambda: security_utils.audit_log("event", "status", {}),
        lambda: library.audit_log_security_event("event", {}),
    )
    for number, call in enumerate(calls):
        root = project / f"sub{number}"
        (root / ".claude").mkdir(parents=True)
        monkeypatch.setenv("BATCH_IMPLEMENT_ROOT", str(root))
        call()
        assert (root / ".claude/batch-implement/audit.jsonl").exists()
    git(project, "add", "-A")
    assert git(project, "status", "--porcelain") == ""


def test_a_git_folder_that_git_does_not_take_for_one_yet_is_enough(tmp_path, monkeypatch):
    path = tmp_path.resolve() / "young"
    (path / ".git").mkdir(parents=True)
    monkeypatch.chdir(path)
    library.save_batch_state(library.get_default_state_file(), library.create_batch_state(["a"]))
    assert "/.claude/batch_state.json*" in (path / ".git/info/exclude").read_text()


# -- the audit log ----------------------------------------------------------------------------------------------------


class Unspeakable:
    def __str__(self) -> str:
        raise RuntimeError("no")


def test_an_audit_line_is_json_whatever_it_is_given(project):
    loop: dict[object, object] = {}
    loop["self"] = loop
    values = [
        {"a": 1}, None, "text", {1: {2, 3}, (4, 5): object()}, float("nan"), 10**5000, Unspeakable(), loop, "\ud800",
        "x" * 100_000, {str(number): "y" * 1000 for number in range(1000)}, [[[[[[[[1]]]]]]]],
    ]  # fmt: skip
    for value in values:
        assert security_utils.audit_log("event\n", "status", value) is None
    path = project / ".git/batch-implement/audit.jsonl"
    lines = path.read_text(encoding="utf-8").splitlines()
    assert [json.loads(line)["event"] for line in lines] == ["event\n"] * len(values)
    assert json.loads(lines[0])["context"] == {"a": 1}
    assert path.stat().st_mode & 0o777 == 0o600
    assert git(project, "status", "--porcelain") == ""


@pytest.mark.parametrize("event", [5, None, {"a": 1}, b"x", Unspeakable()])
def test_an_event_that_is_no_text_is_told_as_one(project, event):
    security_utils.audit_log(event, event, {})
    line = json.loads((project / ".git/batch-implement/audit.jsonl").read_text())
    assert isinstance(line["event"], str) and line["event"]


def test_a_log_that_cannot_be_written_stops_nobody(project):
    (project / ".git/batch-implement").touch()
    security_utils.audit_log("event", "status", {})
    with pytest.raises(ValueError, match="outside"):
        validate_path("/etc/passwd", "notes")


def test_the_log_is_rotated_and_five_old_ones_are_kept(project, monkeypatch):
    monkeypatch.setattr(audit_log, "ROTATE_AT_BYTES", 2000)
    for number in range(200):
        security_utils.audit_log("event", "status", {"number": number})
    folder = project / ".git/batch-implement"
    names = sorted(path.name for path in folder.glob("audit.jsonl*"))
    assert names == ["audit.jsonl", *(f"audit.jsonl.{number}" for number in range(1, 6))]
    assert list(audit_log.read_entries(str(folder)))[-1]["context"] == {"number": 199}


def test_lines_of_two_processes_never_mix(project):
    script = (
        f"import sys; sys.path.insert(0, {str(ROOT / 'lib')!r}); from security_utils import audit_log\n"
        "for number in range(200): audit_log('event', 'status', {'number': number, 'text': 'x' * 2000})"
    )
    processes = [subprocess.Popen([sys.executable, "-c", script]) for _ in range(2)]
    assert [process.wait() for process in processes] == [0, 0]
    entries = list(audit_log.read_entries(str(project / ".git/batch-implement")))
    for pid in {entry["pid"] for entry in entries}:
        assert [entry["context"]["number"] for entry in entries if entry["pid"] == pid] == list(range(200))
    assert len(entries) == 400


def test_processes_that_rotate_the_log_lose_no_line(project):
    script = (
        f"import sys; sys.path.insert(0, {str(ROOT / 'lib')!r}); from batch_implement.store import audit_log as log\n"
        "log.ROTATE_AT_BYTES = 10_000; from security_utils import audit_log\n"
        "for number in range(100): audit_log('event', 'status', number)"
    )
    processes = [subprocess.Popen([sys.executable, "-c", script]) for _ in range(3)]
    assert [process.wait() for process in processes] == [0, 0, 0]
    folder = project / ".git/batch-implement"
    assert (folder / "audit.jsonl.2").exists() and not (folder / "audit.jsonl.5").exists()  # turned, and none dropped
    entries = list(audit_log.read_entries(str(folder)))
    for process in processes:
        assert [entry["context"] for entry in entries if entry["pid"] == process.pid] == list(range(100))


# -- importing --------------------------------------------------------------------------------------------------------

MODULES = ("batch_state_manager", "path_utils", "security_utils", "failure_classifier")
USE = (
    "state = m.create_batch_state(['a']); m.save_batch_state(m.get_default_state_file(), state); "
    "m.update_batch_progress(m.DEFAULT_STATE_FILE, 0, 'completed'); "
    "print(m.load_batch_state(m.get_default_state_file()).status)"
)


@pytest.mark.parametrize("module", MODULES)
def test_importing_creates_nothing_and_leaves_the_search_path_alone(project, bare, module):
    script = f"import sys; sys.path.insert(0, sys.argv[1]); before = list(sys.path); import {module}; "
    script += "print(sys.path == before)"
    done = run_program(sys.executable, "-B", "-c", script, str(ROOT / "lib"), cwd=bare)
    assert (done.stdout, done.stderr) == ("True\n", "")
    assert files_in(bare) == set()


def test_modules_that_are_linked_one_by_one_find_their_neighbours(project, tmp_path):
    linked = tmp_path / "linked"
    linked.mkdir()
    for module in MODULES:
        (linked / f"{module}.py").symlink_to(ROOT / "lib" / f"{module}.py")
    script = f"import sys; sys.path.insert(0, {str(linked)!r}); import batch_state_manager as m; {USE}"
    done = run_program(sys.executable, "-c", script, cwd=project)
    assert (done.stdout, done.stderr) == ("completed\n", "")


def test_modules_can_be_imported_as_a_package_beside_others_of_their_names(project):
    (project / "plugins").mkdir()
    (project / "plugins/x").symlink_to(ROOT)
    for name in ("path_utils", "security_utils", "hook"):
        (project / f"{name}.py").write_text("MINE = True\n")
    script = f"import plugins.x.lib.batch_state_manager as m; import hook, path_utils; assert hook.MINE; {USE}"
    done = run_program(sys.executable, "-c", f"import sys; sys.path.insert(0, ''); {script}", cwd=project)
    assert (done.stdout, done.stderr) == ("completed\n", "")


def test_nothing_in_the_package_imports_the_library_interface():
    package = ROOT / "lib/batch_implement"
    for path in set(package.rglob("*.py")) - set(package.glob("api/*.py")):
        assert "api import" not in path.read_text()
        for module in MODULES:
            assert f"import {module}" not in path.read_text() and f"from {module}" not in path.read_text()


def test_the_package_exports_each_name_of_the_interface():
    from batch_implement import api

    for name, module in {name: importlib.import_module(name) for name in MODULES}.items():
        assert set(module.__all__) <= set(dir(api)), name
        for exported in module.__all__:
            assert getattr(api, exported) == getattr(module, exported)
    with pytest.raises(AttributeError):
        _ = api.no_such_name
