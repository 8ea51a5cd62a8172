"""The demo's example: each solution does its feature, with a test that fails without it."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from batch_implement.features import source_files
from hands import type_in
from solutions import EXAMPLE, SOLUTIONS, classify_file, read_solution

NUMBERS = range(1, len(list(SOLUTIONS.glob("*.patch"))) + 1)


def passes_its_tests(project: Path) -> bool:
    command = [sys.executable, "-B", "-m", "unittest"]
    return subprocess.run(command, cwd=project, capture_output=True, check=False).returncode == 0


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A copy of the example."""
    shutil.copytree(EXAMPLE, tmp_path / "todo", ignore=shutil.ignore_patterns("__pycache__"))
    return tmp_path / "todo"


def test_there_is_a_solution_for_every_feature() -> None:
    assert len(source_files.read_file(str(EXAMPLE / "features.txt")).features) == len(NUMBERS) == 5


def test_the_example_passes_its_own_tests(project: Path) -> None:
    assert passes_its_tests(project)


@pytest.mark.parametrize("number", NUMBERS)
def test_a_solutions_test_fails_without_its_code_and_passes_with_it(number: int, project: Path) -> None:
    for earlier in range(1, number):
        type_in(project, read_solution(earlier), "test", "code", "docs")
    done = read_solution(number)
    assert {classify_file(path) for path in done.paths()} == {"test", "code", "docs"}
    type_in(project, done, "test")
    assert not passes_its_tests(project)
    type_in(project, done, "code", "docs")
    assert passes_its_tests(project)
