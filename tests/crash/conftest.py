"""Fixtures of the proofs: a server of writes, a fast folder, what each kind of write makes of what.

make test       the short form: everything marked neither `prove` nor skipped
make prove      the full form, `pytest -m prove`
"""

from __future__ import annotations

import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "client"))  # Whole batches run in the client, as tests there do.
sys.path.insert(0, str(Path(__file__).parent))  # Whatever import mode pytest is told to use.

import scratch
import traced
import writes
from behaviours import copy_of_code


@pytest.fixture(scope="session")
def folder() -> Iterator[str]:
    """A folder of this run, in memory where that can be had."""
    path = scratch.fast_folder()
    yield path
    shutil.rmtree(path, ignore_errors=True)


@pytest.fixture(scope="session")
def code(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The code, with short waits between attempts."""
    return copy_of_code(tmp_path_factory.mktemp("code"))


@pytest.fixture(scope="session")
def server() -> Iterator[traced.Server]:
    """A server of writes with the code as it is."""
    with traced.Server() as running:
        yield running


@pytest.fixture(scope="session")
def known(folder: str) -> dict[str, scratch.Versions]:
    """What each kind of write makes of what."""
    return {kind: scratch.versions(kind, folder) for kind in writes.KINDS}


@pytest.fixture(scope="session")
def calls(server: traced.Server, known: dict[str, scratch.Versions], folder: str) -> dict[str, list[traced.Call]]:
    """The system calls of each kind of write."""
    return {
        kind: server.calls(kind, scratch.laid(known[kind].before, f"{folder}/{kind}-watched")) for kind in writes.KINDS
    }
