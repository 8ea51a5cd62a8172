"""What several of the unit tests need."""

from __future__ import annotations

import io
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Callable

import pytest
import yaml
from batch_implement.cli import batchctl
from batch_implement.store.store import Store


@pytest.fixture(params=["in C", "in Python"])
def yaml_parser(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each of PyYAML's parsers; the one in C is not in every installation."""
    if request.param == "in Python":
        monkeypatch.delattr(yaml, "CSafeLoader", raising=False)
    elif not hasattr(yaml, "CSafeLoader"):
        pytest.skip("this PyYAML was built without libyaml")


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[int]:
    """A descriptor of the test's folder."""
    descriptor = os.open(tmp_path, os.O_RDONLY | os.O_DIRECTORY)
    yield descriptor
    os.close(descriptor)


@pytest.fixture
def root(repository: Path) -> str:
    """The repository's root, as git's callers here name it."""
    return str(repository)


@pytest.fixture
def untrusted(store: Store) -> Store:
    """The same store, as the hooks of the model's session use it."""
    return Store(store.project, trusted=False)


@pytest.fixture
def typed(
    repository: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Callable[..., tuple[int, str, str]]:
    """Runs batchctl as a person in the repository: `typed("create", "f.txt")` gives status, output and errors."""
    monkeypatch.chdir(repository)
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b"")))

    def run(*words: str) -> tuple[int, str, str]:
        capsys.readouterr()
        status = batchctl.main(list(words))
        out, err = capsys.readouterr()
        return status, out, err

    return run
