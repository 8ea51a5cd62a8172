"""docs/migrating.md is true of a real old file. What becomes of each field: tests/unit/store/test_migration.py and
test_library_old_files.py; the library interface: tests/unit/api/test_library_docs.py."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest
from batch_implement.store import migration

REPOSITORY = Path(__file__).resolve().parents[2]
PAGE = (REPOSITORY / "docs" / "migrating.md").read_text(encoding="utf-8")
OLD = {
    "batch_id": "batch-20251116-123456", "features_file": "f.txt", "total_features": 5, "features": ["a", "b", "c"],
    "current_index": 3, "completed_features": ["0", 0, 9], "failed_features": [1], "status": "running",
    "mine": {"x": 1},
}  # fmt: skip
ENVIRONMENT = {**os.environ, "PATH": f"{REPOSITORY / 'bin'}{os.pathsep}{os.environ['PATH']}"}


def typed(command: str, folder: Path) -> str:
    done = subprocess.run(
        ["/bin/sh", "-c", command], cwd=folder, env=ENVIRONMENT, check=False, capture_output=True, text=True
    )
    return done.stdout + done.stderr


@pytest.fixture
def project(repository: Path) -> Path:
    (repository / ".claude").mkdir()
    (repository / ".claude" / "batch_state.json").write_text(json.dumps(OLD), encoding="utf-8")
    return repository


def test_the_sessions_are_as_shown_and_read_only(project: Path) -> None:
    blocks = re.findall(r"^```console\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
    parts = [part for block in blocks for part in re.split(r"^\$ ", block, flags=re.MULTILINE)[1:]]
    assert len(parts) == 4
    for command, _, shown in (part.partition("\n") for part in parts):
        answer = typed(command, project)
        pattern = ".*".join(map(re.escape, shown.rstrip("\n").split("...")))
        assert re.fullmatch(pattern, answer.rstrip("\n"), re.DOTALL), f"{command} says:\n{answer}"
    assert json.loads((project / ".claude" / "batch_state.json").read_text(encoding="utf-8")) == OLD
    assert not (project / ".git" / "batch-implement").exists()


def test_the_first_change_takes_it_over_reports_it_and_keeps_the_old_file(project: Path) -> None:
    file = project / ".claude" / "batch_state.json"
    typed("batchctl pause", project)
    state = json.loads(file.read_text(encoding="utf-8"))
    assert (state["schema_version"], state["mine"], state["completed_features"]) == (1, {"x": 1}, [0])
    assert state["policy"]["evidence"] == []
    told = typed("batchctl log", project)
    assert "older state file migrated" in told
    assert "repaired: completed_features held 9, which is not a feature's index and was left out" in told
    logged = typed("batchctl log --json", project)
    assert "repairs" in logged and "is not a feature's index" in logged
    kept = project / ".git" / "batch-implement" / "archive" / f"{OLD['batch_id']}.as-it-was.json"
    assert json.loads(kept.read_text(encoding="utf-8")) == OLD
    typed("batchctl abort", project)
    shutil.copy(kept, file)
    assert "1 of 3 done" in typed("batchctl status", project)


def test_a_newer_schema_and_a_missing_field_are_refused_and_left_alone(project: Path) -> None:
    file = project / ".claude" / "batch_state.json"
    for damage, said in (
        ({**OLD, "schema_version": 2}, "update the plugin"),
        ({name: OLD[name] for name in OLD if name != "status"}, "Missing required fields: ['status']"),
    ):
        file.write_text(json.dumps(damage), encoding="utf-8")
        assert said in typed("batchctl pause", project)
        assert json.loads(file.read_text(encoding="utf-8")) == damage
    assert all(f"`{name}`" in PAGE for name in migration.REQUIRED)


def test_a_program_or_a_checklist_gives_the_list(project: Path) -> None:
    (project / "TODO.md").write_text("- [x] Old\n- [ ] New\n", encoding="utf-8")
    assert "1 feature would be done" in typed("batchctl create TODO.md --dry-run --replace", project)
    assert "1 feature would be done" in typed("echo One | batchctl create - --dry-run --replace", project)
