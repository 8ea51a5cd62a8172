"""Output of a command that does not fill the disk."""

from __future__ import annotations

import io
from pathlib import Path

import pytest
from batch_implement.base import subprocesses
from batch_implement.base.bounded_output import BoundedOutput


@pytest.mark.parametrize("size", [1, 3, 7, 1000])
def test_head_and_tail_are_kept_and_what_lies_between_is_counted(size):
    data, file = bytes(range(200)) * 5, io.BytesIO()
    with BoundedOutput(file, 100) as output:
        for start in range(0, len(data), size):
            output.write(data[start : start + size])
    assert file.getvalue() == data[:100] + b"\n[batch-implement: 800 bytes are left out here]\n" + data[-100:]


@pytest.mark.parametrize("length", [0, 1, 100, 101, 199, 200])
def test_what_is_short_enough_is_kept_whole(length):
    data, file = b"x" * length, io.BytesIO()
    with BoundedOutput(file, 100) as output:
        output.write(data)
    assert file.getvalue() == data


def test_a_command_that_prints_without_end_fills_no_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(BoundedOutput.__init__, "__defaults__", (1000,))
    with open(tmp_path / "log", "wb") as file:
        ended = subprocesses.run_in_worktree("yes | head -c 30000000; echo last >&2", str(tmp_path), 60, output=file)
    text = (tmp_path / "log").read_bytes()
    assert ended.returncode == 0 and len(text) < 2100
    assert text.startswith(b"y\n") and text.endswith(b"last\n") and b"bytes are left out here" in text
