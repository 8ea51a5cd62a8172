"""docs/library.md: its examples run, on each Python that is here, and it names all that the modules offer."""

from __future__ import annotations

import dataclasses
import doctest
import inspect
import re
import shutil
import subprocess
import sys
from pathlib import Path

import batch_state_manager
import failure_classifier
import path_utils
import pytest
import security_utils
from batches import ROOT, run_program

PAGE = ROOT / "docs" / "library.md"
FLAGS = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE
RUN = f"""
import doctest, sys
sys.path.insert(0, sys.argv[1])
result = doctest.testfile(sys.argv[2], module_relative=False, encoding="utf-8", optionflags={FLAGS})
sys.exit(result.failed or result.attempted < 30)
"""


def interpreter(version: str) -> str | None:
    """A Python of that version, None when there is none here."""
    program = shutil.which(f"python{version}")
    if not program:
        return None
    managed = sorted(Path(program).parent.parent.glob(f"versions/{version}.*/bin/python{version}"))
    for candidate in (program, *map(str, managed)):
        asked = subprocess.run(
            [candidate, "-c", "import sys; print(*sys.version_info[:2], sep='.')"], capture_output=True, text=True
        )
        if asked.stdout.strip() == version:
            return candidate
    return None


# Looked up at once: an interpreter may lie in the home folder, which no test may look into.
PYTHONS = {version: interpreter(version) for version in ("3.9", "3.10", "3.11", "3.12", "3.13")}


@pytest.mark.parametrize("version", PYTHONS)
def test_the_examples_run_as_they_are_written(repository, version):
    python = PYTHONS[version]
    if python is None:
        pytest.skip(f"Python {version} is not installed here")
    done = run_program(python, "-c", RUN, str(ROOT / "lib"), str(PAGE), cwd=repository)
    assert done.returncode == 0, done.stdout + done.stderr


def test_two_versions_of_python_work_on_one_batch(repository):
    pythons = [path for path in (PYTHONS["3.9"], PYTHONS["3.13"]) if path] or [sys.executable]
    make = "library.save_batch_state('s.json', library.create_batch_state(['a']))"
    count = "[library.increment_retry_count('s.json', 0) for _ in range(10)]"
    script = f"import sys; sys.path.insert(0, {str(ROOT / 'lib')!r}); import batch_state_manager as library; "
    assert run_program(pythons[0], "-c", script + make, cwd=repository).returncode == 0
    running = [subprocess.Popen([python, "-c", script + count], cwd=repository) for python in pythons]
    assert [process.wait() for process in running] == [0] * len(running)
    shown = "print(library.load_batch_state('s.json').retry_attempts)"
    assert run_program(pythons[-1], "-c", script + shown, cwd=repository).stdout == f"{{0: {10 * len(running)}}}\n"


def test_the_page_names_the_fields_of_a_state_in_their_order():
    section = PAGE.read_text(encoding="utf-8").partition("## What a `BatchState` holds")[2].partition("\n## ")[0]
    named = [name for name in re.findall(r"`(\w+)`", section)]
    assert named == [item.name for item in dataclasses.fields(batch_state_manager.BatchState)]


def test_the_page_documents_old_spellings_in_one_place():
    section = PAGE.read_text(encoding="utf-8").partition("## Old spellings")[2].partition("\n## ")[0]
    own = {name: call for name, call in vars(batch_state_manager).items() if inspect.isfunction(call)}
    old = [name for name, call in own.items() if "deprecated" in (call.__doc__ or "").lower()]
    assert len(old) == 3 and [name for name in old if f"| `{name}(" not in section] == []


@pytest.mark.parametrize("module", [batch_state_manager, path_utils, security_utils, failure_classifier])
def test_the_page_names_everything_that_a_module_offers(module):
    page = PAGE.read_text(encoding="utf-8")
    own = [
        name
        for name, value in vars(module).items()
        if not name.startswith("_") and inspect.getmodule(value) is module and callable(value)
    ]
    assert own and [name for name in own if not re.search(rf"\b{name}\b", page)] == []
