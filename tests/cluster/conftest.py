"""Fixtures of the cluster's tests: `cluster(workers=1, slots=1)` starts one on this machine, `remote` is the remote."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Callable

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from local import Cluster, has_remote


@pytest.fixture
def cluster(tmp_path: Path, scratch_home: Path) -> Iterator[Callable[..., Cluster]]:
    """Starts clusters: `cluster(workers=1, slots=1, way="tls", environ=...)`."""
    pytest.importorskip("distributed")
    made: list[Cluster] = []

    def make(workers: int = 1, slots: int = 1, **more: Any) -> Cluster:
        made.append(Cluster(tmp_path / f"cluster-{len(made)}", scratch_home, workers, slots, **more))
        return made[-1]

    yield make
    for each in made:
        each.end()


@pytest.fixture
def remote(repository: Path, tmp_path: Path) -> Path:
    """The repository's remote: a bare one, which has what the repository has."""
    return has_remote(repository, tmp_path / "remote.git")
