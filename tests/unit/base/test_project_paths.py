"""Where a project's batch lives. The resolver of paths.py and the one in hooks/run agree on every layout here."""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
from pathlib import Path

import pytest
from batch_implement.base import project_paths
from batch_implement.core.errors import StateError
from batches import GUARD, commit, git, run_program

SHELLS = [shell for shell in ("sh", "bash", "dash", "busybox") if shutil.which(shell)]


def folder(path, *more):
    for part in (path, *more):
        Path(part).mkdir(parents=True, exist_ok=True)
    return str(path)


def repository_at(path):
    folder(path)
    git(path, "init", "-q")
    commit(path, readme="x")
    return str(path)


# -- layouts: each a function that builds one in an empty folder and answers
#    (where we are, additions to the environment, the project's root, its private folder) ------------------------------


def at_the_top(base):
    root = repository_at(base / "app")
    return root, {}, root, f"{root}/.git/batch-implement"


def in_a_sub_folder(base):
    root = repository_at(base / "app")
    return folder(base / "app/src/deep"), {}, root, f"{root}/.git/batch-implement"


def in_a_nested_repository(base):
    repository_at(base / "app")
    root = repository_at(base / "app/vendor/lib")
    return folder(base / "app/vendor/lib/src"), {}, root, f"{root}/.git/batch-implement"


def git_far_away_wins_over_a_nearer_claude(base):
    root = repository_at(base / "app")
    folder(base / "app/pkg/.claude")
    return folder(base / "app/pkg/src"), {}, root, f"{root}/.git/batch-implement"


def in_a_linked_worktree(base):
    main = repository_at(base / "app")
    git(main, "worktree", "add", "-q", str(base / "tree"))
    return folder(base / "tree/src"), {}, str(base / "tree"), f"{main}/.git/worktrees/tree/batch-implement"


def in_a_submodule_with_a_relative_gitdir(base):
    inner = repository_at(base / "inner")
    outer = repository_at(base / "outer")
    git(outer, "-c", "protocol.file.allow=always", "submodule", "--quiet", "add", inner, "libs/inner")
    root = f"{outer}/libs/inner"
    assert Path(root, ".git").read_text().startswith("gitdir: ../")
    return root, {}, root, f"{root}/../../.git/modules/libs/inner/batch-implement"


def with_a_git_file_that_points_nowhere(base):
    root = folder(base / "app")
    Path(root, ".git").write_text("gitdir: /nowhere/at/all\n")
    return root, {}, root, f"{root}/.claude/batch-implement"


def with_a_git_file_that_is_none(base):
    root = folder(base / "app")
    Path(root, ".git").write_text("hello\n")
    return root, {}, root, f"{root}/.claude/batch-implement"


def with_a_git_file_without_a_line_end(base):
    root = folder(base / "app")
    folder(base / "store.git ")
    Path(root, ".git").write_text("gitdir: ../store.git ")
    return root, {}, root, f"{root}/../store.git /batch-implement"


def without_git_but_with_claude(base):
    root = folder(base / "app", base / "app/.claude")
    return folder(base / "app/src"), {}, root, f"{root}/.claude/batch-implement"


def without_git_and_the_nearest_claude_of_two(base):
    folder(base / "app/.claude")
    root = folder(base / "app/part", base / "app/part/.claude")
    return folder(base / "app/part/src"), {}, root, f"{root}/.claude/batch-implement"


def without_anything(base):
    root = folder(base / "plain/src")
    return root, {}, root, f"{root}/.claude/batch-implement"


def below_a_home_with_the_clients_own_configuration(base):
    home = folder(base / "home", base / "home/.claude")
    root = folder(base / "home/notes")
    return root, {"HOME": home}, root, f"{root}/.claude/batch-implement"


def below_a_home_that_is_spelled_with_a_slash_at_its_end(base):
    home = folder(base / "home", base / "home/.claude")
    root = folder(base / "home/notes")
    return root, {"HOME": f"{home}/"}, root, f"{root}/.claude/batch-implement"


def below_another_configuration_folder(base):
    folder(base / "work/.claude")
    root = folder(base / "work/notes")
    return root, {"CLAUDE_CONFIG_DIR": str(base / "work/.claude")}, root, f"{root}/.claude/batch-implement"


def below_another_configuration_folder_with_a_slash_at_its_end(base):
    folder(base / "work/.claude")
    root = folder(base / "work/notes")
    return root, {"CLAUDE_CONFIG_DIR": f"{base}/work/.claude/"}, root, f"{root}/.claude/batch-implement"


def a_project_below_the_configuration_of_a_home(base):
    home = folder(base / "home", base / "home/.claude")
    root = folder(base / "home/app", base / "home/app/.claude")
    return folder(base / "home/app/src"), {"HOME": home}, root, f"{root}/.claude/batch-implement"


def a_repository_that_is_the_home_itself(base):
    home = repository_at(base / "home")
    folder(base / "home/.claude")
    return folder(base / "home/notes"), {"HOME": home}, home, f"{home}/.git/batch-implement"


def the_clients_project_wins_over_where_we_are(base):
    root = repository_at(base / "app")
    repository_at(base / "app/nested")
    return f"{root}/nested", {"CLAUDE_PROJECT_DIR": root}, root, f"{root}/.git/batch-implement"


def the_clients_project_in_a_sub_folder(base):
    root = repository_at(base / "app")
    start = folder(base / "app/src/deep")
    return str(base), {"CLAUDE_PROJECT_DIR": start}, root, f"{root}/.git/batch-implement"


def the_clients_project_with_a_slash_at_its_end(base):
    root = folder(base / "app")
    return str(base), {"CLAUDE_PROJECT_DIR": f"{root}/"}, root, f"{root}/.claude/batch-implement"


def the_clients_project_that_is_gone(base):
    root = repository_at(base / "app")
    return str(base), {"CLAUDE_PROJECT_DIR": f"{root}/gone/deep"}, root, f"{root}/.git/batch-implement"


def the_root_that_was_exported_wins_over_all(base):
    root = repository_at(base / "app")
    other = repository_at(base / "other")
    environment = {"BATCH_IMPLEMENT_ROOT": root, "CLAUDE_PROJECT_DIR": other}
    return other, environment, root, f"{root}/.git/batch-implement"


def the_root_that_was_exported_is_not_searched_upward(base):
    repository_at(base / "app")
    root = folder(base / "app/part")
    return str(base), {"BATCH_IMPLEMENT_ROOT": root}, root, f"{root}/.claude/batch-implement"


def the_root_of_the_file_system(base):
    return "/", {"CLAUDE_PROJECT_DIR": "/"}, "/", "//.claude/batch-implement"


LAYOUTS = [
    at_the_top,
    in_a_sub_folder,
    in_a_nested_repository,
    git_far_away_wins_over_a_nearer_claude,
    in_a_linked_worktree,
    in_a_submodule_with_a_relative_gitdir,
    with_a_git_file_that_points_nowhere,
    with_a_git_file_that_is_none,
    with_a_git_file_without_a_line_end,
    without_git_but_with_claude,
    without_git_and_the_nearest_claude_of_two,
    without_anything,
    below_a_home_with_the_clients_own_configuration,
    below_a_home_that_is_spelled_with_a_slash_at_its_end,
    below_another_configuration_folder,
    below_another_configuration_folder_with_a_slash_at_its_end,
    a_project_below_the_configuration_of_a_home,
    a_repository_that_is_the_home_itself,
    the_clients_project_wins_over_where_we_are,
    the_clients_project_in_a_sub_folder,
    the_clients_project_with_a_slash_at_its_end,
    the_clients_project_that_is_gone,
    the_root_that_was_exported_wins_over_all,
    the_root_that_was_exported_is_not_searched_upward,
    the_root_of_the_file_system,
]
ODD_NAMES = [
    "a b", "it's", 'say "hi"', "$(touch x)", "`touch x`", "$HOME", "back\\slash", "-rf", "*", "[a-z]", "{a,b}", "#1",
    "~", "é", "日本", "a'b\"c $d", "tab\there", "''", "end ", "\udcff",
]  # fmt: skip


def resolved_by_python(environ, cwd):
    project = project_paths.find_project({**os.environ, **environ}, cwd)
    return project.root, project.private


def resolved_by_the_guard(tmp_path, environ, cwd, shell="sh"):
    """What hooks/run exports as the root, and the private folder in which it looks for a sidecar."""
    env_file, stub = tmp_path / "env file", tmp_path / "stub"
    env_file.write_bytes(b"")
    stub.mkdir(exist_ok=True)
    words = [shell, "sh"] if shell == "busybox" else [shell]
    traced = run_program(
        *words, GUARD, "SessionStart", cwd=cwd, PATH=f"{stub}:{os.environ['PATH']}",
        CLAUDE_ENV_FILE=str(env_file), **environ,
    )  # fmt: skip
    assert (traced.returncode, traced.stdout) == (0, "")
    program = f". {shlex.quote(str(env_file))}; printf '%s' \"$BATCH_IMPLEMENT_ROOT\""
    reader = "bash" if shutil.which("bash") else "sh"
    sourced = subprocess.run([reader, "-c", program], capture_output=True, check=True, cwd=tmp_path)
    return os.fsdecode(sourced.stdout)


def guard_sees_a_live_batch(tmp_path, environ, cwd, private):
    """Whether hooks/run starts Python for a sidecar in the private folder that says `live`, and only for that one."""
    stub, mark = tmp_path / "bin", tmp_path / "python started"
    folder(stub)
    (stub / "python3").write_text(f"#!/bin/sh\n: >{shlex.quote(str(mark))}\nexit 0\n")
    (stub / "python3").chmod(0o755)
    seen = []
    for word in ("over", "live"):
        folder(private)
        Path(private, "sidecar").write_text(f"{word}\n")
        mark.unlink(missing_ok=True)
        run_program(GUARD, "Stop", cwd=cwd, PATH=f"{stub}:{os.environ['PATH']}", **environ)
        seen.append(mark.exists())
    return seen == [False, True]


@pytest.mark.parametrize("layout", LAYOUTS, ids=lambda layout: layout.__name__)
def test_both_resolvers_find_the_root_of(layout, tmp_path):
    cwd, environ, root, private = layout(folder_of(tmp_path))
    assert resolved_by_python(environ, cwd) == (root, private)
    assert resolved_by_the_guard(tmp_path, environ, cwd) == root


@pytest.mark.parametrize(
    "layout", [layout for layout in LAYOUTS if layout is not the_root_of_the_file_system], ids=lambda f: f.__name__
)
def test_the_guard_looks_for_the_sidecar_where_the_store_writes_it(layout, tmp_path):
    cwd, environ, _, private = layout(folder_of(tmp_path))
    assert guard_sees_a_live_batch(tmp_path, environ, cwd, private)


@pytest.mark.parametrize("name", ODD_NAMES)
def test_both_resolvers_take_any_name_without_a_line_break(name, tmp_path):
    root = repository_at(folder_of(tmp_path) / name)
    cwd = folder(Path(root) / "sub folder")
    assert resolved_by_python({}, cwd) == (root, f"{root}/.git/batch-implement")
    assert resolved_by_the_guard(tmp_path, {}, cwd) == root
    assert guard_sees_a_live_batch(tmp_path, {}, cwd, f"{root}/.git/batch-implement")
    assert not (Path(cwd) / "x").exists()


@pytest.mark.parametrize("shell", SHELLS)
def test_the_guard_exports_the_same_root_in_every_shell(shell, tmp_path):
    root = repository_at(folder_of(tmp_path) / "it's a 'quoted' \"$name\"")
    assert resolved_by_the_guard(tmp_path, {}, root, shell) == root


def folder_of(tmp_path):
    """A folder for a layout, below no git and no `.claude`, with its links resolved."""
    return Path(folder(tmp_path.resolve() / "layout"))


def test_the_guard_exports_the_plugins_data_folder_for_batchctl(tmp_path):
    env_file = tmp_path / "env"
    run_program(
        GUARD, "SessionStart", cwd=tmp_path, CLAUDE_ENV_FILE=str(env_file), CLAUDE_PLUGIN_DATA="/data/it's here"
    )
    program = f". {shlex.quote(str(env_file))}; printf '%s' \"$BATCH_IMPLEMENT_DATA\""
    assert subprocess.run(["sh", "-c", program], capture_output=True, check=True).stdout == b"/data/it's here"


def test_the_guard_adds_to_what_other_hooks_export(tmp_path):
    env_file = tmp_path / "env"
    env_file.write_text("export OTHER=1\n")
    run_program(GUARD, "SessionStart", cwd=tmp_path, CLAUDE_ENV_FILE=str(env_file))
    assert env_file.read_text().startswith("export OTHER=1\nexport BATCH_IMPLEMENT_ROOT=")


def test_only_the_start_of_a_session_exports_anything(tmp_path):
    run_program(GUARD, "Stop", cwd=tmp_path, CLAUDE_ENV_FILE=str(tmp_path / "env"))
    assert not (tmp_path / "env").exists()


def test_the_places_of_a_project_hang_together(repository):
    project = project_paths.Project(str(repository))
    assert project.state == f"{repository}/.claude/batch_state.json"
    assert project.temp_name == "batch_state.json.tmp"
    assert project.private == project.log_folder == f"{repository}/.git/batch-implement"


def test_looking_for_a_project_creates_nothing(tmp_path):
    project_paths.find_project({"HOME": str(tmp_path)}, str(tmp_path / "gone"))
    assert list(tmp_path.iterdir()) == []


# -- folders -----------------------------------------------------------------------------------------------------------


def test_a_folder_is_made_with_its_parents_for_its_owner_alone(tmp_path):
    os.close(project_paths.open_folder(str(tmp_path), "a/b", create=True))
    assert [(tmp_path / name).stat().st_mode & 0o777 for name in ("a", "a/b")] == [0o700, 0o700]


def test_a_missing_folder_is_not_made_unless_that_is_asked_for(tmp_path):
    with pytest.raises(FileNotFoundError):
        project_paths.open_folder(str(tmp_path), "a", create=False)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("create", [True, False])
@pytest.mark.parametrize("name", ["link", "link/b", "dangling", "file", "file/b"])
def test_a_link_or_a_file_where_a_folder_belongs_is_refused_and_named(tmp_path, name, create):
    folder(tmp_path / "real/b")
    (tmp_path / "link").symlink_to("real")
    (tmp_path / "dangling").symlink_to("nowhere")
    (tmp_path / "file").write_text("x")
    with pytest.raises(StateError) as caught:
        os.close(project_paths.open_folder(str(tmp_path), name, create=create))
    kind = "not a folder" if name.startswith("file") else "a symbolic link"
    assert f"{tmp_path}/{name.split('/')[0]} is {kind}" in caught.value.message
    assert "Move it away" in caught.value.message


def test_no_descriptor_stays_open(tmp_path):
    (tmp_path / "link").symlink_to("real")
    before = len(os.listdir("/dev/fd"))
    for name in ("a/b/c", "link/b", "link"):
        try:
            os.close(project_paths.open_folder(str(tmp_path), name, create=True))
        except StateError:
            continue
    assert len(os.listdir("/dev/fd")) == before
