"""What the instructions cost: the words of all of them, and the tokens that each feature adds to a context window."""

from __future__ import annotations

from pathlib import Path

from batch_implement.core import prompts, transitions
from batches import NOW, completed, new_batch, started, then

ROOT = Path(__file__).resolve().parents[2]
CHARS_PER_TOKEN = 4


def read_body(path: str) -> str:
    """The text of a command or agent without its frontmatter."""
    return (ROOT / path).read_text(encoding="utf-8").split("\n---\n", 1)[1]


def count_tokens(*texts: str) -> float:
    return sum(map(len, texts)) / CHARS_PER_TOKEN


def test_all_instructions_together_stay_below_800_words():
    pages = [*ROOT.glob("agents/*.md"), *ROOT.glob("commands/*.md")]
    assert len(pages) == 5
    assert sum(len(read_body(str(page)).split()) for page in pages) < 800


def test_a_feature_costs_a_worker_at_most_700_tokens_and_the_coordinator_200():
    state = new_batch(["Export the list as CSV", "Sort by any column"], verify="make test", unattended=True)
    state = then(completed(state), transitions.start, NOW, "c" * 40, "main")
    brief = prompts.worker_brief(state).replace("> Sort by any column", "")
    answer = f"Feature 2 of 2 is done (commit c0ffeec0ffee, verify passed in 12.3 s). {prompts.WORKER_END}"
    worker = count_tokens(read_body("agents/worker.md"), read_body("commands/auto-implement.md"), brief, answer)
    assert worker <= 700, worker
    skill_call = f'{{"skill": "{prompts.SKILL}"}}'
    result = f'Skill "{prompts.SKILL}" completed (forked execution). Result: Feature 1 is in. Feature 1 is done.'
    coordinator = count_tokens(skill_call, result, prompts.next_step(started(new_batch(2))))
    assert coordinator <= 200, coordinator
