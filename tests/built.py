"""The distributions of this repository, built and installed without the network.

clone = cloned(folder)                  what a clone has; a patch changes one file of it
archive = sdist(clone, folder)          the source distribution
file = wheel(archive, folder)           a wheel, of an archive or a clone
environment = installed(file, folder)   a new virtual environment with that wheel and nothing else
environment = shared(tmp_path_factory)  the same, made once for all processes of a test run
"""

from __future__ import annotations

import fcntl
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[1]
NOT_CLONED = shutil.ignore_patterns(
    ".git", ".venv*", "node_modules", "build", "dist", "__pycache__", ".*_cache", ".hypothesis", "*.egg-info", ".demo"
)
BACKEND = "import sys; from setuptools import build_meta; build_meta.build_sdist(sys.argv[1])"
Patch = tuple[str, str, str]


def cloned(folder: Path, patch: Patch | None = None) -> Path:
    """A copy of this repository in a new folder, with one text of one file replaced."""
    shutil.copytree(REPOSITORY, folder, symlinks=True, ignore=NOT_CLONED)
    if patch:
        name, old, new = patch
        text = (folder / name).read_text(encoding="utf-8")
        assert text.count(old) == 1, f"the patch no longer fits {name}: {old!r} stands there {text.count(old)} times"
        (folder / name).write_text(text.replace(old, new), encoding="utf-8")
    return folder


def sdist(clone: Path, folder: Path) -> Path:
    """The source distribution of a clone."""
    _done([sys.executable, "-c", BACKEND, str(folder)], clone)
    [archive] = folder.glob("*.tar.gz")
    return archive


def wheel(source: Path, folder: Path) -> Path:
    """The wheel of a source distribution or of a clone."""
    offline = ["--no-build-isolation", "--no-index", "--no-deps", "--disable-pip-version-check"]
    _done([sys.executable, "-m", "pip", "wheel", "-q", *offline, "-w", str(folder), str(source)], folder)
    [file] = folder.glob("*.whl")
    return file


def installed(file: Path, folder: Path) -> Path:
    """A new virtual environment in that folder, with the wheel and nothing else."""
    _done([sys.executable, "-m", "venv", "--without-pip", str(folder)], folder.parent)
    offline = ["--no-index", "--no-deps", "--no-compile", "--disable-pip-version-check"]
    python = str(folder / "bin" / "python")
    _done([sys.executable, "-m", "pip", "--python", python, "install", "-q", *offline, str(file)], folder)
    return folder


def shared(factory: pytest.TempPathFactory) -> Path:
    """An environment with the wheel that the source distribution makes. Both archives lie beside it."""
    base = factory.getbasetemp()
    folder = (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / "distributions"
    folder.mkdir(exist_ok=True)
    with open(folder / "lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (folder / "made").exists():
            archive = sdist(cloned(folder / "clone"), folder)
            installed(wheel(archive, folder), folder / "environment")
            (folder / "made").touch()
    return folder / "environment"


def plugin_in(environment: Path) -> Path:
    """The plugin's folder in an environment."""
    [folder] = environment.glob("lib/python*/site-packages/batch_implement/plugin")
    return folder


def _done(command: list[str], folder: Path) -> None:
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-4000:]
