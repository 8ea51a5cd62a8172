"""Fuzzing: hostile input at four surfaces. See test_hostile_input.py; `run_block.py` does the playing.

make test       the short form: everything marked neither `prove` nor skipped
make prove      the full form, `pytest -m prove`
"""

from __future__ import annotations

import shutil
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))  # Whatever import mode pytest is told to use.


@pytest.fixture(scope="session")
def place() -> Iterator[str]:
    """A folder of this run, in memory where that can be had."""
    path = tempfile.mkdtemp(prefix="fuzz-", dir="/dev/shm" if Path("/dev/shm").is_dir() else None)
    yield path
    shutil.rmtree(path, ignore_errors=True)
