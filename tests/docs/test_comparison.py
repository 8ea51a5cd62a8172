"""docs/comparison.md names the client that the tests run, and its shell loop works."""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[2]
PAGE = (REPOSITORY / "docs" / "comparison.md").read_text(encoding="utf-8")


def test_the_client_is_the_version_that_the_tests_run() -> None:
    version = re.search(r"version (\d+\.\d+\.\d+)", PAGE)
    assert version and f'"{version.group(1)}"' in (REPOSITORY / "tests" / "client" / "package.json").read_text(
        encoding="utf-8"
    )


def test_the_shell_loop_asks_for_each_feature_and_commits_it(repository: Path, tmp_path: Path) -> None:
    programs = tmp_path / "programs"
    programs.mkdir()
    for name, does in (("claude", 'cat >> "$HOME/swallowed"; echo "$2" > "$2.txt"'), ("make", "exit 0")):
        (programs / name).write_text(f"#!/bin/sh\n{does}\n", encoding="utf-8")
        (programs / name).chmod(0o755)
    (repository / "features.txt").write_text("One\nTwo\n", encoding="utf-8")
    (loop,) = re.findall(r"^```sh\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
    identity = "[user]\n name = Ada\n email = ada@example.invalid\n"
    (tmp_path / "config").write_text(identity, encoding="utf-8")
    environment = {
        **os.environ,
        "GIT_CONFIG_GLOBAL": str(tmp_path / "config"),
        "HOME": str(tmp_path),
        "PATH": f"{programs}{os.pathsep}{os.environ['PATH']}",
    }
    subprocess.run(["/bin/sh", "-c", loop], cwd=repository, env=environment, check=True)
    log = ["git", "log", "--reverse", "-2", "--format=%s"]
    said = subprocess.run(log, cwd=repository, env=environment, check=True, capture_output=True, text=True)
    assert said.stdout.split() == ["One", "Two"]
    assert (tmp_path / "swallowed").read_text(encoding="utf-8") == ""
