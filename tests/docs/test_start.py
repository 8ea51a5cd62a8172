"""docs/start.md: its commands, pasted in order into a shell, do what it says; a script plays the model."""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path

import pytest
from client import Client, ClientMissing, binary
from scripted_model import REPOSITORY, ScriptedModel, Turn, call

from scripts import commit, coordinator, worker

PAGE = (REPOSITORY / "docs" / "start.md").read_text(encoding="utf-8")
GREETING = '    return f"Hello, {name}."\n'
CHANGES = {
    1: ("def greet(name):", 'def greet(name="world"):'),
    2: (GREETING, f'{GREETING}\n\ndef part(name="world"):\n    return f"Bye, {{name}}."\n'),
}


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)


def steps(number: int) -> list[Turn]:
    old, new = CHANGES[number]
    return [
        call("Read", file_path="greeter.py"),
        call("Edit", file_path="greeter.py", old_string=old, new_string=new),
        call("Bash", command="python3 -m unittest"),
        commit("greeter.py", message=f"Feature {number}"),
    ]


def test_the_commands_of_the_page_in_order_lead_to_a_batch_that_is_done(tmp_path: Path) -> None:
    try:
        programs = binary()
    except ClientMissing as missing:
        pytest.skip(str(missing))
    home, folder, path = tmp_path / "home", tmp_path / "folder", tmp_path / "bin"
    for new in (home, folder, path):
        new.mkdir()
    (path / "claude").symlink_to(programs)
    (home / ".gitconfig").write_text("[user]\n name = Ada\n email = ada@example.invalid\n", encoding="utf-8")
    typed = "\necho '--- next'\n".join(blocks("sh")).replace("/path/to/batch-implement", str(REPOSITORY))
    with ScriptedModel({"coordinator": coordinator, "worker": worker(steps)}) as model:
        client = Client(folder, model, None, home)
        environment = client.environment({"HOME": str(home), "PATH": f"{path}{os.pathsep}{os.environ['PATH']}"})
        try:
            done = subprocess.run(
                ["/bin/sh", "-ec", typed], cwd=folder, env=environment, check=False, capture_output=True, text=True,
                stdin=subprocess.DEVNULL, timeout=300,
            )  # fmt: skip
        finally:
            client.close()
    assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"
    said = done.stdout.split("--- next\n")
    for answer, shown in zip((said[2], said[4]), blocks("text")):
        pattern = ".*".join(map(re.escape, shown.split("...")))
        assert re.search(pattern, answer, re.DOTALL), f"not as shown:\n{answer}"
    assert "All done." in said[3]
    assert "Feature 2" in said[4]
    assert said[5].rstrip().endswith("Nothing was written or started.")
    assert len(re.findall(r"^OK$", done.stderr, re.MULTILINE)) == 2
