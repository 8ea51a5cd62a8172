"""What several tests of the readers need. This folder is on the path, so that those below import `tool_list_format`."""

from __future__ import annotations

import pytest


@pytest.fixture
def listed(tmp_path):
    """Write a file and return its path."""

    def write(content, name="features.txt"):
        path = tmp_path / name
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return str(path)

    return write
