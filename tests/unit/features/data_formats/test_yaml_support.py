"""Where PyYAML is looked for, and where never: programs are really started, as hooks and people start them.

An environment here is a virtual one made by hand, whose Python is the one that runs the tests.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from batch_implement.core.errors import UsageError
from batch_implement.features.data_formats import yaml_support
from batches import GUARD, run_program

ROOT = Path(__file__).resolve().parents[4]
BATCHCTL = str(ROOT / "bin" / "batchctl")
BASE = os.path.realpath(sys.executable)
PACKAGES = f"lib/python{sys.version_info[0]}.{sys.version_info[1]}/site-packages"
FEATURES = "defaults:\n  verify: make test\nfeatures:\n  - Add a login page\n"


def environment(folder: Path, *, with_yaml: bool) -> Path:
    """Make a virtual environment; its Python."""
    (folder / "bin").mkdir(parents=True)
    (folder / PACKAGES).mkdir(parents=True)
    python = folder / "bin" / "python3"
    python.symlink_to(BASE)
    (folder / "pyvenv.cfg").write_text(f"home = {os.path.dirname(BASE)}\ninclude-system-site-packages = false\n")
    if with_yaml:
        shutil.copytree(Path(yaml.__file__).parent, folder / PACKAGES / "yaml")
    return python


@pytest.fixture
def project(repository):
    """A repository with a features file in YAML."""
    (repository / "x.yaml").write_text(FEATURES)
    return repository


def dry_run(project: Path, python: Path, *words: str, remembered: bool = True) -> subprocess.CompletedProcess[str]:
    """What `batchctl create x.yaml --dry-run` says: in a session with `-I -S`, in a terminal with `-I`."""
    data = project.parent / "data"
    data.mkdir(exist_ok=True)
    (data / "python").write_text(f"{python}\n")
    env = {"BATCH_IMPLEMENT_DATA": str(data) if remembered else "", "PATH": f"{python.parent}:{os.environ['PATH']}"}
    return run_program(BATCHCTL, "create", *(words or ("x.yaml",)), "--dry-run", cwd=project, **env)


@pytest.mark.parametrize("remembered", [True, False], ids=["-I -S", "-I"])
def test_with_pyyaml_in_site_packages_a_yaml_file_is_read(project, tmp_path, remembered):
    done = dry_run(project, environment(tmp_path / "env", with_yaml=True), remembered=remembered)
    assert (done.returncode, done.stderr) == (0, "")
    assert "Add a login page" in done.stdout


@pytest.mark.parametrize("remembered", [True, False], ids=["-I -S", "-I"])
def test_without_pyyaml_the_message_names_the_interpreter_and_how_to_install_it(project, tmp_path, remembered):
    python = environment(tmp_path / "env with blanks", with_yaml=False)
    done = dry_run(project, python, remembered=remembered)
    assert done.returncode == 2
    assert f"x.yaml: PyYAML is not installed for {python}. Install it with" in done.stderr
    assert f"`'{python}' -m pip install pyyaml`" in done.stderr
    assert ".json" in done.stderr


def test_without_pyyaml_all_else_is_read(project, tmp_path):
    python = environment(tmp_path / "env", with_yaml=False)
    (project / "x.json").write_text('["Add a login page"]')
    (project / "x.txt").write_text("Add a login page")
    for name in ("x.json", "x.txt"):
        assert dry_run(project, python, name).returncode == 0


def test_a_slash_command_reads_a_yaml_file_with_the_interpreter_that_the_hooks_remembered(project, tmp_path):
    python = environment(tmp_path / "env", with_yaml=True)
    (tmp_path / "python").write_text(f"{python}\n")
    told = {
        "session_id": "s-1", "hook_event_name": "UserPromptExpansion", "cwd": str(project),
        "command_name": "batch-implement:batch-implement", "command_args": "x.yaml --dry-run",
    }  # fmt: skip
    env = {
        "CLAUDE_PLUGIN_DATA": str(tmp_path), "CLAUDE_PROJECT_DIR": str(project), "CLAUDE_CODE_SESSION_ID": "s-1",
        "CLAUDE_PID": str(os.getpid()),
    }  # fmt: skip
    done = run_program(GUARD, "UserPromptExpansion", cwd=project, stdin=json.dumps(told), **env)
    assert "Add a login page" in json.loads(done.stdout)["reason"]


def spy(folder: Path, mark: Path, name: str = "yaml.py") -> None:
    """Put a file of Python into a folder that leaves a mark when it is run."""
    folder.mkdir(parents=True, exist_ok=True)
    line = f"import pathlib; pathlib.Path({str(mark)!r}).write_text('run')\n"
    (folder / name).write_text(line)


def test_nothing_called_yaml_in_the_project_is_run_and_no_pth_file_anywhere(project, tmp_path):
    mark = tmp_path / "mark"
    spy(project, mark)
    spy(project / "yaml", mark, "__init__.py")
    python = environment(tmp_path / "env", with_yaml=True)
    spy(tmp_path / "env" / PACKAGES, mark, "odd.pth")
    assert dry_run(project, python).returncode == 0
    assert not mark.exists()


def test_the_pyyaml_of_an_environment_inside_the_project_is_not_run_and_the_message_says_why(project, tmp_path):
    mark = tmp_path / "mark"
    python = environment(project / ".venv", with_yaml=True)
    spy(project / ".venv" / PACKAGES / "yaml", mark, "__init__.py")
    done = dry_run(project, python)
    assert done.returncode == 2
    assert f"the PyYAML in {project / '.venv' / PACKAGES} is not used: it is inside the project" in done.stderr
    assert not mark.exists()


def test_a_package_that_leads_into_the_project_by_a_link_is_not_run(project, tmp_path):
    mark = tmp_path / "mark"
    python = environment(tmp_path / "env", with_yaml=False)
    spy(project / "code", mark, "__init__.py")
    (tmp_path / "env" / PACKAGES / "yaml").symlink_to(project / "code")
    assert "is not used: it is inside" in dry_run(project, python).stderr
    assert not mark.exists()


def test_from_a_working_directory_nothing_is_run_either(project, tmp_path):
    python = environment(tmp_path / "env", with_yaml=True)
    data = tmp_path / "data"
    data.mkdir()
    (data / "python").write_text(f"{python}\n")
    env = {"BATCH_IMPLEMENT_DATA": str(data), "BATCH_IMPLEMENT_ROOT": str(project)}
    done = run_program(BATCHCTL, "validate", str(project / "x.yaml"), cwd=tmp_path / "env" / "bin", **env)
    assert "valid" in done.stdout
    done = run_program(BATCHCTL, "validate", str(project / "x.yaml"), cwd=tmp_path / "env", **env)
    assert "is not used: it is inside the project or the working directory" in done.stdout


def test_one_that_cannot_be_loaded_is_named_with_its_error_and_leaves_nothing_behind(tmp_path, monkeypatch):
    package = tmp_path / "packages" / "yaml"
    package.mkdir(parents=True)
    (package / "part.py").write_text("")
    monkeypatch.setattr(yaml_support, "package_folders", lambda: [str(tmp_path / "packages")])
    for content, fragment in (("import yaml.part\n1 / 0\n", "ZeroDivisionError: "), ("", "another package named yaml")):
        (package / "__init__.py").write_text(content)
        with monkeypatch.context() as patched:
            for name in [name for name in sys.modules if name == "yaml" or name.startswith("yaml.")]:
                patched.delitem(sys.modules, name)
            before, path = set(sys.modules), list(sys.path)
            with pytest.raises(UsageError, match=fragment) as caught:
                yaml_support.load("f.yaml")
            assert str(package) in caught.value.message and "pip install" in caught.value.message
            assert (set(sys.modules) - before, sys.path) == (set(), path)


def test_the_path_is_as_it_was_after_it_was_found(tmp_path, monkeypatch):
    monkeypatch.setattr(yaml_support, "package_folders", lambda: [str(Path(yaml.__file__).parents[1])])
    for name in [name for name in sys.modules if name == "yaml" or name.startswith("yaml.")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setattr(yaml_support, "forbidden_folders", lambda: [str(tmp_path)])
    path = list(sys.path)
    loaded = yaml_support.load("f.yaml")
    assert loaded.safe_load("a: 1") == {"a": 1}
    assert (sys.path, loaded is yaml, yaml_support.load("f.yaml") is loaded) == (path, False, True)
    for name in [name for name in sys.modules if name.startswith("yaml.")]:
        monkeypatch.delitem(sys.modules, name)


def test_an_environment_that_sees_the_systems_packages_looks_there_too(tmp_path, monkeypatch):
    python = environment(tmp_path, with_yaml=False)
    monkeypatch.setattr(sys, "executable", str(python))
    alone = yaml_support.package_folders()
    assert str(tmp_path / PACKAGES) in alone
    (tmp_path / "pyvenv.cfg").write_text("home = x\nInclude-System-Site-Packages = True\n")
    assert yaml_support.package_folders()[: len(alone)] == alone
    assert len(yaml_support.package_folders()) > len(alone)


def test_outside_of_an_environment_the_users_packages_come_before_the_systems(tmp_path, monkeypatch):
    import site

    monkeypatch.setattr(sys, "executable", str(tmp_path / "bin" / "python3"))
    assert yaml_support.package_folders() == [site.getusersitepackages(), *site.getsitepackages()]
    monkeypatch.setattr(sys, "executable", "")
    assert yaml_support.find_virtual_environment() is None


def test_nothing_of_it_is_imported_unless_a_yaml_file_is_given(project):
    (project / "x.json").write_text('["a"]')
    program = (
        "import sys; sys.path.insert(0, sys.argv[1])\n"
        "from batch_implement.features import source_files\n"
        "assert 'batch_implement.features.data_formats.yaml_and_json' not in sys.modules\n"
        "source_files.read_file('x.json')\n"
        "unused = ('yaml', 'site', 'batch_implement.features.data_formats.yaml_support')\n"
        "print([name for name in unused if name in sys.modules])\n"
    )
    done = run_program(sys.executable, "-I", "-S", "-c", program, str(ROOT / "lib"), cwd=project)
    assert (done.stdout, done.stderr) == ("[]\n", "")
