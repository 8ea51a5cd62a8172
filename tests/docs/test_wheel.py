"""`pip install`: what the distributions hold, and that batchctl works from one in an environment with nothing else."""

from __future__ import annotations

import email
import json
import os
import re
import stat
import subprocess
import zipfile
from collections.abc import Iterator
from pathlib import Path

import built
import pytest
from batch_implement import __version__

REPOSITORY = built.REPOSITORY
OF_THE_PLUGIN = ("agents", "bin", "commands", "hooks", "schemas")
ENTRIES = {"lib/hook.py", "lib/batchctl.py"}
WORKER = """
name=$(sed -n 's/^> \\(feature [0-9]*\\).*/\\1/p' | head -1)
echo done >"$name"; git add . && git commit -qm Add
"""


@pytest.fixture(scope="module")
def environment(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return built.shared(tmp_path_factory)


@pytest.fixture
def file(environment: Path) -> Path:
    [file] = environment.parent.glob("*.whl")
    return file


def expected() -> Iterator[tuple[str, Path]]:
    """What a wheel has to hold: its name there, and the file here."""
    package = REPOSITORY / "lib" / "batch_implement"
    for path in sorted([*package.rglob("*.py"), *package.rglob("*.css")]):
        yield str(path.relative_to(REPOSITORY / "lib")), path
    for name in ENTRIES:
        yield f"batch_implement/plugin/{name}", REPOSITORY / name
    for path in sorted(path for folder in OF_THE_PLUGIN for path in (REPOSITORY / folder).iterdir()):
        yield f"batch_implement/plugin/{path.relative_to(REPOSITORY)}", path
    for name in (".claude-plugin/plugin.json", "docs/troubleshooting.md"):
        yield f"batch_implement/plugin/{name}", REPOSITORY / name


def troubles(file: Path) -> list[str]:
    """What is wrong with a wheel: files that are missing, other, or no longer programs."""
    with zipfile.ZipFile(file) as archive:
        inside = {info.filename: info for info in archive.infolist()}
        found = []
        for name, path in expected():
            if name not in inside:
                found.append(f"{name} is missing")
            elif archive.read(name) != path.read_bytes():
                found.append(f"{name} is another one")
            elif os.access(path, os.X_OK) and not inside[name].external_attr >> 16 & stat.S_IXUSR:
                found.append(f"{name} is no program")
        known = {name for name, _ in expected()} | {
            "batch_implement/plugin/.claude-plugin/icon.png",
            "batch_implement/plugin/lib/batch_implement/__init__.py",
        }
        found += [f"{name} does not belong in it" for name in inside if name not in known and ".dist-info/" not in name]
    return found


def run(environment: Path, *words: str, folder: Path, status: int = 0) -> str:
    """What a program of the environment prints, for somebody who has neither a plugin nor this repository on a path."""
    clean = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
    done = subprocess.run(
        [str(environment / "bin" / words[0]), *words[1:]], cwd=folder, env=clean, stdin=subprocess.DEVNULL,
        capture_output=True, text=True, timeout=240, check=False,
    )  # fmt: skip
    assert done.returncode == status, done.stdout + done.stderr
    return done.stdout


def git(folder: Path, *words: str) -> str:
    return subprocess.run(["git", *words], cwd=folder, check=True, capture_output=True, text=True).stdout


@pytest.fixture
def listed(repository: Path) -> Path:
    """A repository with a list of two features, committed."""
    (repository / "features.txt").write_text("feature 1\nfeature 2\n", encoding="utf-8")
    git(repository, "add", ".")
    git(repository, "commit", "-qm", "List")
    return repository


def test_a_wheel_made_of_the_sdist_holds_package_interface_schemas_and_plugin_and_nothing_else(file: Path) -> None:
    assert troubles(file) == []


@pytest.mark.prove
def test_a_wheel_made_of_a_clone_is_the_same(tmp_path: Path) -> None:
    assert troubles(built.wheel(built.cloned(tmp_path / "clone"), tmp_path)) == []


@pytest.mark.prove
@pytest.mark.parametrize(
    ("patch", "missed"),
    [
        (("pyproject.toml", ', "schemas/*"', ""), "schemas/features.schema.json is missing"),
        (("pyproject.toml", ', "hooks/*"', ""), "plugin/hooks/run is missing"),
        (("pyproject.toml", '["report.css"]', "[]"), "report/report.css is missing"),
        (("pyproject.toml", '    "batch_implement.runner",\n', ""), "runner/driver.py is missing"),
        (
            ("pyproject.toml", "[tool.setuptools]\n", '[tool.setuptools]\npy-modules = ["path_utils"]\n'),
            "path_utils.py does",
        ),
        (("pyproject.toml", ', "schemas/*"', ', "schemas/*", "docs/*"'), "docs/state.md does not"),
        (("hooks/run", "#!/bin/sh\n", "#!/bin/sh\n\n"), "plugin/hooks/run is another one"),
    ],
)
def test_a_wheel_that_lacks_or_has_something_is_noticed(tmp_path: Path, patch: built.Patch, missed: str) -> None:
    archive = built.sdist(built.cloned(tmp_path / "clone", patch), tmp_path)
    assert [line for line in troubles(built.wheel(archive, tmp_path)) if missed in line]


def test_only_the_cluster_is_an_extra_and_no_module_has_a_generic_name(file: Path) -> None:
    with zipfile.ZipFile(file) as archive:
        [name] = [name for name in archive.namelist() if name.endswith(".dist-info/METADATA")]
        metadata = email.message_from_string(archive.read(name).decode())
        top = {name.partition("/")[0] for name in archive.namelist() if ".dist-info/" not in name}
    required = [line for line in metadata.get_all("Requires-Dist", []) if "; extra == " not in line]
    assert sorted(re.split(r"[>=]", line)[0].lower() for line in required) == ["jsonschema", "pyyaml", "rich"]
    assert metadata.get_all("Provides-Extra", []) == ["cluster"]
    assert top == {"batch_implement"}
    assert metadata["Version"] == __version__


def test_batchctl_says_its_version_and_the_schemas_as_they_are_published(environment: Path, tmp_path: Path) -> None:
    assert run(environment, "batchctl", "--version", folder=tmp_path) == f"batchctl {__version__}\n"
    for name in ("batch_state", "features"):
        published = json.loads((REPOSITORY / "schemas" / f"{name}.schema.json").read_text(encoding="utf-8"))
        assert json.loads(run(environment, "batchctl", "schema", name, folder=tmp_path)) == published


def test_a_feature_is_opened_done_and_shown_with_batchctl_from_the_wheel(environment: Path, listed: Path) -> None:
    assert run(environment, "batchctl", "help", "lock-held", folder=listed).startswith("### lock-held\n")
    run(environment, "batchctl", "create", "features.txt", "--verify", "test -e one", folder=listed)
    assert "feature 1" in run(environment, "batchctl", "start", folder=listed)
    run(environment, "batchctl", "done", folder=listed, status=1)
    (listed / "one").touch()
    git(listed, "add", ".")
    git(listed, "commit", "-qm", "Add one")
    run(environment, "batchctl", "done", folder=listed)
    assert "in progress, 1 of 2 done" in run(environment, "batchctl", "status", folder=listed)
    assert "valid" in run(environment, "batchctl", "validate", folder=listed)


def test_an_unattended_run_from_the_wheel_merges_what_its_workers_did(environment: Path, listed: Path) -> None:
    run(environment, "batchctl", "run", "features.txt", "--worker", WORKER, folder=listed)
    assert "completed, 2 of 2 done" in run(environment, "batchctl", "status", folder=listed)
    [branch] = git(listed, "for-each-ref", "--format=%(refname)", "refs/heads/batch/*/merged").split()
    assert git(listed, "ls-tree", "--name-only", branch).splitlines() == [
        "README.md", "feature 1", "feature 2", "features.txt",
    ]  # fmt: skip


def test_a_script_imports_the_library_interface_from_the_package(environment: Path, listed: Path) -> None:
    (listed / "script.py").write_text(
        "from batch_implement import api\n"
        "api.save_batch_state(api.get_batch_state_file(), api.create_batch_state(features=['one', 'two']))\n",
        encoding="utf-8",
    )
    run(environment, "python", "script.py", folder=listed)
    assert "in progress, 0 of 2 done" in run(environment, "batchctl", "status", folder=listed)
    (listed / "script.py").write_text("import batch_state_manager\n", encoding="utf-8")
    run(environment, "python", "script.py", folder=listed, status=1)


def test_the_plugins_own_programs_find_the_package_and_keep_site_packages_off_their_path(
    environment: Path, listed: Path
) -> None:
    plugin = built.plugin_in(environment)
    shown = (
        "import sys; sys.path.insert(0, sys.argv[1]); from batch_implement.cli import batchctl;"
        "from batch_implement.base import project_paths; print(project_paths.plugin_root());"
        "print([path for path in sys.path if 'site-packages' in path])"
    )
    lines = run(environment, "python", "-I", "-S", "-c", shown, str(plugin / "lib"), folder=listed).splitlines()
    assert lines == [str(plugin), str([str(plugin / "lib")])]
    run(environment, "batchctl", "create", "features.txt", folder=listed)
    typed = json.dumps(
        {"session_id": "s", "cwd": ".", "hook_event_name": "UserPromptExpansion", "command_args": "status",
         "command_name": "batch-implement:batchctl"}
    )  # fmt: skip
    answered = subprocess.run(
        [plugin / "hooks" / "run", "UserPromptExpansion"], cwd=listed, input=typed, capture_output=True, text=True,
        timeout=120, check=True,
    )  # fmt: skip
    assert "0 of 2 done" in answered.stdout
