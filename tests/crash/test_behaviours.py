"""Whatever workers do with git, in real runs: the work of completed features is merged, and nothing unique is gone.

    make prove                                                   300 seeds; the first dozen in make test, too
    .venv/bin/python tests/crash/behaviours.py 7                 prints and replays seed 7

The plan of a seed is always the same; how processes interleave is not, with more than one job.
"""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from behaviours import Plan, copy_of_code, run_plan
from mutating import Patch

SEEDS = 300
BEGIN = "    if tree == git_client.get_tree(folder, onto):\n"
REBASE = """\
    words = ("rebase", "--quiet", "--empty=drop", "--onto", onto, after, last)
    if git_client.run_git(folder, *words, check=False).returncode == 0:
        return str(git_client.get_head(folder))
"""
WRONG: dict[str, tuple[Patch, Plan, str]] = {
    "a worktree is removed without a snapshot": (
        ("git/worktrees.py", "        ref = snapshots.keep_worktree(", "        ref = (lambda *_: None)("),
        Plan(0, 1, "true", (), ((("detach and go back", "finish"),),)),
        "gone: ",
    ),
    "a rebase decides what is merged": (
        ("git/merging.py", BEGIN, REBASE + BEGIN),
        Plan(0, 2, "true", (), ((("merge a branch", "finish"),), (("merge a branch", "finish"),))),
        "feature",
    ),
}  # fmt: skip

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="finds processes in /proc")


@pytest.mark.some(12)
@pytest.mark.parametrize("seed", range(SEEDS))
def test_what_workers_did_is_merged_or_kept(tmp_path: Path, code: Path, seed: int) -> None:
    plan = Plan.of(seed)
    print(plan.describe())
    assert run_plan(plan, tmp_path / "run", code) == []


@pytest.mark.prove
@pytest.mark.parametrize("name", WRONG)
def test_the_oracles_notice(tmp_path: Path, name: str) -> None:
    patch, plan, sign = WRONG[name]
    assert run_plan(plan, tmp_path / "right", copy_of_code(tmp_path / "code")) == []
    troubles = run_plan(plan, tmp_path / "wrong", copy_of_code(tmp_path / "mutant", patch))
    assert any(trouble.startswith(sign) for trouble in troubles), troubles


def test_a_plan_follows_from_its_seed() -> None:
    plans = [Plan.of(seed) for seed in range(SEEDS)]
    assert plans == [Plan.of(seed) for seed in range(SEEDS)]
    assert len({plan.starts for plan in plans}) == SEEDS
    assert {plan.jobs for plan in plans} == {1, 2, 3}
