"""Change the code in small ways, one at a time, and count which changes no test notices: `make mutate`.

    make mutate                                           every module of MODULES, up to SAMPLE mutants of each (hours)
    make mutate MUTATE="core/transitions --sample 20"     modules by name or folder, another number of mutants
    make mutate MUTATE="store --seed 1"                   another sample

A mutant is the code with one operator, constant or condition changed by cosmic-ray. It survives when the tests named
beside its module pass. A survivor is a missing test, or code that makes no difference: its diff is printed, and the
table of all modules at the end. Which mutants are taken depends only on the code and the seed, and a larger sample
contains the smaller one. Works on a clone of HEAD in a temporary folder, so that uncommitted changes are not tested.
Needs Python 3.10 or newer. Exits with 1 when a module is missing or its tests fail on unchanged code.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import shlex
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from tools import DEV_REQUIREMENTS, REPOSITORY, create_environment

TYPE_CHECKING = False
if TYPE_CHECKING:
    from cosmic_ray.work_item import MutationSpec

ENVIRONMENT = REPOSITORY / ".venv-mutate"
REQUIREMENTS = [DEV_REQUIREMENTS, REPOSITORY / "requirements-mutate.txt"]
SAMPLE = 40

CORE_TESTS = "core/test_transitions.py core/test_run_transitions.py core/test_batch_events.py"
HOOK_TESTS = "hooks/test_hooks.py"
GUARD_TESTS = (
    "hooks/test_command_policy.py::test_every_command_of_the_corpus_gets_its_verdict "
    "hooks/test_command_policy.py::test_a_mass_edit_is_refused_exactly_when_it_would_change_git_or_the_state_that_it_asks_for"
)
MODULES = {
    "store/transaction": "store/test_store.py",
    "store/sidecar": "store/test_sidecar.py store/test_store.py",
    "store/backups": "store/test_backups.py store/test_store.py",
    "store/lock": "store/test_lock.py store/test_store.py",
    "core/transitions": CORE_TESTS,
    "core/run_transitions": CORE_TESTS,
    "commands/evidence": "commands/test_evidence.py git/test_git_situations.py",
    "commands/verify_command": "commands/test_evidence.py",
    "hooks/tool_use": HOOK_TESTS,
    "hooks/stop": HOOK_TESTS,
    "hooks/compaction": HOOK_TESTS,
    "hooks/dispatch": HOOK_TESTS,
    "hooks/command_guard/command_policy": GUARD_TESTS,
    "hooks/command_guard/interpreters": GUARD_TESTS,
    "hooks/command_guard/protected_paths": GUARD_TESTS,
    "hooks/command_guard/selections": GUARD_TESTS,
    "hooks/command_guard/write_policies": GUARD_TESTS,
    "core/merge_rules": "core/test_merge_rules.py",
    "runner/merge_queue": "runner/test_merge_queue.py",
    "runner/merge_tips": "runner/test_merge_tips.py runner/test_merge_queue.py",
}
"""The modules whose tests are measured, and the unit tests that hold each."""

OPERATORS = {
    "core/AddNot",
    "core/ReplaceAndWithOr",
    "core/ReplaceOrWithAnd",
    "core/ReplaceTrueWithFalse",
    "core/ReplaceFalseWithTrue",
    "core/ReplaceBreakWithContinue",
    "core/ReplaceContinueWithBreak",
    "core/ZeroIterationForLoop",
    "core/ReplaceUnaryOperator_Delete_Not",
    "core/ReplaceComparisonOperator_Eq_NotEq",
    "core/ReplaceComparisonOperator_NotEq_Eq",
    "core/ReplaceComparisonOperator_Gt_GtE",
    "core/ReplaceComparisonOperator_GtE_Gt",
    "core/ReplaceComparisonOperator_Lt_LtE",
    "core/ReplaceComparisonOperator_LtE_Lt",
    "core/ReplaceComparisonOperator_Is_IsNot",
    "core/ReplaceComparisonOperator_IsNot_Is",
    "core/ReplaceBinaryOperator_Add_Sub",
    "core/ReplaceBinaryOperator_Sub_Add",
    "core/NumberReplacer",
}
"""The changes that a careless edit makes. The others of cosmic-ray (`<` to `is`, `+` to `**`) nearly
always raise at once."""


def list_mutants(module: str, path: str, sample: int, seed: int, folder: str) -> list[MutationSpec]:
    """Return up to `sample` mutations of a module as cosmic-ray has them."""
    from cosmic_ray.commands import init
    from cosmic_ray.work_db import WorkDB

    database = WorkDB(os.path.join(folder, "mutants.sqlite"), WorkDB.Mode.create)
    init([Path(path)], database, {})
    mutations = [item.mutations[0] for item in database.work_items]
    database.close()

    def draw(mutation: MutationSpec) -> str:
        return hashlib.sha256(f"{seed} {module} {mutation.operator_name} {mutation.occurrence}".encode()).hexdigest()

    kept = [mutation for mutation in mutations if mutation.operator_name in OPERATORS and not is_noise(mutation)]
    return sorted(sorted(kept, key=draw)[:sample], key=lambda mutation: mutation.start_pos)


def is_noise(mutation: MutationSpec) -> bool:
    """Return whether a mutation repeats another one, or only shortens a text by one character more or less."""
    if mutation.operator_name != "core/NumberReplacer":
        return False
    line, column = mutation.start_pos
    before = mutation.module_path.read_text(encoding="utf-8").splitlines()[line - 1][:column]
    return mutation.occurrence % 2 == 1 or before.endswith(("[:", "[-", "[: "))  # a number is replaced by +1 and by -1


def measure_module(module: str, sample: int, seed: int, folder: str) -> tuple[int, int] | None:
    """Test the mutants of a module in the current folder, print those that survive, and return how many were tested
    and how many survived; None when that is not possible, which is printed.
    """
    from cosmic_ray.mutating import mutate_and_test

    path = f"lib/batch_implement/{module}.py"
    if not os.path.exists(path):
        print(f"{module}: {path} not found. Correct MODULES in scripts/mutation_score.py.", flush=True)
        return None
    tests = [f"tests/unit/{name}" for name in MODULES[module].split()]
    command = shlex.join(
        [sys.executable, "-m", "pytest", "-x", "-q", "-p", "no:cacheprovider", "-p", "no:xdist", *tests]
    )
    began = time.monotonic()
    # This run also leaves the compiled files that processes of later runs, which write none, need to start fast.
    unchanged = subprocess.run(shlex.split(command), capture_output=True, text=True, check=False)
    if unchanged.returncode != 0:
        print(f"{module}: the tests fail on unchanged code:\n{unchanged.stdout[-3000:]}", flush=True)
        return None
    timeout_s = 30 + 5 * (time.monotonic() - began)
    mutants = list_mutants(module, path, sample, seed, folder)
    survived = 0
    for number, mutation in enumerate(mutants, 1):
        result = mutate_and_test([mutation], command, timeout_s)
        if not result.is_killed:
            survived += 1
            lines = [line for line in result.diff.splitlines() if not line.startswith("---")]
            print(
                "\n".join([f"SURVIVED {module}:{mutation.start_pos[0]} {mutation.operator_name}", *lines, ""]),
                flush=True,
            )
        print(f"{module}: {number}/{len(mutants)}, {survived} survived", file=sys.stderr, flush=True)
    return len(mutants), survived


def print_scores(scores: dict[str, tuple[int, int] | None]) -> None:
    """Print the table of all modules."""
    print(f"{'module':40} mutants survived  score")
    for module, counts in scores.items():
        print(format_score(module, *counts) if counts else f"{module:40} not measured")
    measured = [counts for counts in scores.values() if counts]
    print(format_score("all", *(sum(column) for column in zip(*measured))) if measured else "")


def format_score(name: str, mutants: int, survived: int) -> str:
    """Return a row of the table."""
    score = f"{100 * (mutants - survived) / mutants:5.1f}%" if mutants else "    -"
    return f"{name:40} {mutants:7} {survived:8} {score}"


def main(arguments: list[str]) -> int:
    """Measure the modules that the arguments name and return the exit status."""
    parser = argparse.ArgumentParser(description="Count the changes of code that no test notices.")
    parser.add_argument("modules", nargs="*", metavar="MODULE", help="a module of MODULES, or a folder; without: all")
    parser.add_argument("--sample", type=int, default=SAMPLE, help=f"mutants per module ({SAMPLE})")
    parser.add_argument("--seed", type=int, default=0, help="which mutants (0)")
    options = parser.parse_args(arguments)
    chosen = [
        module
        for module in MODULES
        if not options.modules or any(f"{module}/".startswith(f"{name.rstrip('/')}/") for name in options.modules)
    ]
    if not chosen:
        parser.error(f"unknown module {options.modules[0]!r}; known are {', '.join(MODULES)}")
    create_environment(ENVIRONMENT, REQUIREMENTS)
    if Path(sys.prefix) != ENVIRONMENT:
        python = str(ENVIRONMENT / "bin" / "python")
        os.execv(python, [python, __file__, *arguments])
    scores = {}
    with tempfile.TemporaryDirectory(prefix="mutate-") as folder:
        clone = os.path.join(folder, "clone")
        subprocess.run(["git", "clone", "-q", str(REPOSITORY), clone], check=True)
        os.chdir(clone)
        for module in chosen:
            scores[module] = measure_module(module, options.sample, options.seed, folder)
        os.chdir(REPOSITORY)
    print_scores(scores)
    return int(None in scores.values())


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
