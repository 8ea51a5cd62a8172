"""What the real client says of its version and its login, without a turn of the model."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Callable

import pytest
from batch_implement.commands import doctor
from batch_implement.runner.preflight import preflight_checks
from client import KEY, binary


class Nobody:
    """A model that nobody may ask: there is nothing behind its address."""

    url = "http://127.0.0.1:9"


@pytest.fixture
def login(client_for: Callable[..., Any], project: Path) -> Callable[..., tuple[str, str]]:
    """The verdict on the real client's login, in an isolated home; of the environment `more` is different."""
    client = client_for(Nobody(), plugin_dir=None)

    def look(**more: str) -> tuple[str, str]:
        environ = {**client.environment(), **more}
        [found] = preflight_checks.check_login(str(project), str(binary()), environ)
        return found

    return look


def test_the_real_clients_version_is_read() -> None:
    [(verdict, text)] = doctor.check_client(str(binary()))
    assert verdict == doctor.OK, text
    version = doctor.read_client_version(str(binary()))
    assert version is not None
    assert version >= preflight_checks.MIN_AUTH_STATUS_VERSION


def test_the_real_client_says_whether_it_is_logged_in(login: Callable[..., tuple[str, str]]) -> None:
    verdict, text = login(ANTHROPIC_API_KEY=KEY)
    assert (verdict, "(api key)" in text) == (doctor.OK, True), text
    verdict, text = login(ANTHROPIC_API_KEY="")
    assert (verdict, "`claude auth login`" in text) == (doctor.ERROR, True), text
    verdict, text = login(ANTHROPIC_API_KEY="", CLAUDE_CODE_USE_BEDROCK="1")
    assert verdict == doctor.OK, text
