"""What would lead a verify command back into the user's working tree."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from batch_implement.base.project_paths import Project
from batch_implement.cli import batchctl
from batch_implement.runner.options import Options, with_defaults
from batch_implement.runner.preflight import isolation_check, preflight_checks
from batches import new_batch


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / "project").mkdir()
    (tmp_path / "link").symlink_to("project")
    return tmp_path / "project"


def texts(root: Path, verify: str | None = "make test", **environ: str) -> list[str]:
    """The errors, with nothing of this machine's environment."""
    return [text for _, text in isolation_check.check_isolation(str(root), verify, {"PATH": "/nowhere", **environ})]


def make_environment(folder: Path, **files: str) -> str:
    packages = folder / "lib" / "python3.11" / "site-packages"
    packages.mkdir(parents=True)
    (folder / "pyvenv.cfg").write_text("")
    for name, text in files.items():
        (packages / name.replace("_pth", ".pth").replace("_py", ".py")).write_text(text)
    return str(folder)


def test_an_environment_that_has_nothing_of_the_project_is_no_error(root, tmp_path):
    other = make_environment(tmp_path / "venv", a_pth=f"{tmp_path}/project2\nimport x\n", b_pth="../relative\n")
    path = f"{other}/bin:{tmp_path}/project.worktrees/bin:relative:."
    assert texts(root, f"cd {tmp_path}/project-docs; make", VIRTUAL_ENV=other, PATH=path, PYTHONPATH="src") == []


def test_without_a_verify_command_nothing_is_compared(root):
    assert texts(root, None, PYTHONPATH=str(root)) == []


@pytest.mark.parametrize("name", ["PATH", "PYTHONPATH", "NODE_PATH"])
@pytest.mark.parametrize("below", ["project", "project/src", "link/src"])
def test_a_path_into_the_project_is_an_error_with_the_remedy(root, tmp_path, name, below):
    (text,) = texts(root, **{name: f"/usr/lib:{tmp_path / below}"})
    assert text.startswith(f"{name} has {tmp_path / below}, which is in the project") and f"`env {name}=" in text


def test_an_active_virtual_environment_in_the_project_is_one_error(root):
    place = make_environment(root / ".venv", mine_pth=f"{root}/src\n")
    (text,) = texts(root, VIRTUAL_ENV=place, PATH=f"{place}/bin:/nowhere")
    assert f"The active virtual environment {place} is in the project" in text and "`deactivate`" in text


@pytest.mark.parametrize(
    "files",
    [
        {"mine_pth": "{root}/src\n"},
        {"mine_pth": "{link}\n"},
        {"__editable___x_finder_py": "MAPPING = {{'x': '{root}/x'}}"},
    ],
    ids=["pth", "pth through a link", "finder"],
)
@pytest.mark.parametrize("is_active", [True, False])
def test_an_editable_install_of_the_project_elsewhere_is_an_error(root, tmp_path, files, is_active):
    files = {name: text.format(root=root, link=tmp_path / "link") for name, text in files.items()}
    place = make_environment(tmp_path / "venv", **files)
    (tmp_path / "venv" / "bin").mkdir()
    (tmp_path / "venv" / "bin" / "python3").symlink_to("/bin/sh")
    variables = {"VIRTUAL_ENV": place} if is_active else {"PATH": f"{place}/bin"}
    (text,) = texts(root, **variables)
    assert "makes Python import the project from your working tree (an editable install)" in text
    assert text.startswith(place)


@pytest.mark.parametrize("command", ["cd {root} && make", "{root}/check", "PYTHONPATH='{root}' make"])
def test_a_command_that_names_the_project_is_an_error(root, command):
    (text,) = texts(root, command.format(root=root))
    assert f"The verify command names {root}" in text and "relative" in text


def test_a_run_does_not_start_with_such_an_environment(repository):
    run_options = with_defaults(Options(worker="true"), str(repository))
    environ = {**os.environ, "PYTHONPATH": f"{repository}/src"}
    checks = preflight_checks.run_checks(
        Project(str(repository)), new_batch(1, verify="true"), run_options, environ, batchctl.PLUGIN, None
    )
    assert [entry["verdict"] for entry in checks if entry["check"] == "isolation"] == ["error"]
