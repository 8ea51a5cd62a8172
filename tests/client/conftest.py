"""Fixtures for tests that run the real Claude Code against a scripted model.

`project` is a scratch repository, `scripted` makes models, `client_for` makes clients, `terminal_for` makes
terminals; all are closed at the end of the test, and what a script raised fails the test.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Callable

import pytest

sys.path.insert(0, str(Path(__file__).parent))  # Whatever import mode pytest is told to use.

from client import Client, ClientMissing, Terminal, binary, new_project
from scripted_model import REPOSITORY, Role, ScriptedModel


@pytest.fixture(scope="session", autouse=True)
def claude() -> Path:
    """The client's binary. Without one the tests of this folder are skipped, with the reason."""
    try:
        return binary()
    except ClientMissing as missing:
        pytest.skip(str(missing))


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A scratch git repository with one commit."""
    return new_project(tmp_path / "project")


@pytest.fixture
def scripted() -> Iterator[Callable[..., ScriptedModel]]:
    """Makes models: `scripted(coordinator=..., worker=...)`; further arguments under `ScriptedModel`'s own names."""
    models: list[ScriptedModel] = []

    def make(*, plugin_dir: Path = REPOSITORY, **roles: Role) -> ScriptedModel:
        models.append(ScriptedModel(roles, plugin_dir=plugin_dir))
        return models[-1]

    yield make
    errors: list[BaseException] = []
    for model in models:
        try:
            model.close()
        except BaseException as error:  # Raised below, once all are closed.
            errors.append(error)
    if errors:
        raise errors[0]


@pytest.fixture
def client_for(tmp_path: Path, project: Path) -> Iterator[Callable[..., Client]]:
    """Makes clients in `project`: `client_for(model, plugin_dir=..., home=...)`; by default of this plugin."""
    clients: list[Client] = []

    def make(model: ScriptedModel, *, plugin_dir: Path | None = REPOSITORY, home: Path | None = None) -> Client:
        clients.append(Client(project, model, plugin_dir, home or tmp_path / "home"))
        return clients[-1]

    yield make
    for client in clients:
        client.close()


@pytest.fixture
def terminal_for() -> Iterator[Callable[..., Terminal]]:
    """Makes terminals: `terminal_for(client, mode=...)`."""
    terminals: list[Terminal] = []

    def make(client: Client, **options: Any) -> Terminal:
        terminals.append(Terminal(client, **options))
        return terminals[-1]

    yield make
    for terminal in terminals:
        terminal.close()
