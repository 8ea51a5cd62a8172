"""`make demo` runs a whole batch, with the real client, and succeeds only when everything that it promises is there."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any, Callable

import demo
import picture_run
import pytest
from client import ClientMissing, binary
from hands import type_in
from solutions import TESTS, read_solution


def test_the_demo_completes_every_feature_with_evidence_and_a_commit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    try:
        binary()
    except ClientMissing as missing:
        pytest.skip(str(missing))
    monkeypatch.delenv("ANTHROPIC_API_KEY", raising=False)
    assert demo.main(tmp_path) == 0, capsys.readouterr().out
    output = capsys.readouterr().out
    shown = " ".join(output.split())
    for line in ("feature 5 of 5", "compaction", "reminder feature 3 of 5", "done commit", "VERDICT: good"):
        assert line in shown
    assert not (tmp_path / "home").exists()
    pictured = picture_run.read_svg(picture_run.PICTURE.read_text(encoding="utf-8"))
    assert picture_run.normalize_lines(pictured) == picture_run.normalize_lines(picture_run.picture_lines(output)), (
        "stale: make picture"
    )


@pytest.fixture(scope="module")
def by_hand(tmp_path_factory: pytest.TempPathFactory) -> tuple[demo.Place, str]:
    """A batch over the example that a person did at a terminal, and the commit that it began at."""
    place = demo.Place(tmp_path_factory.mktemp("by-hand").resolve())
    start = demo.new_project(place)
    place.batchctl("create", "features.txt", "--verify", TESTS)
    for number in range(1, 6):
        assert f"Feature {number} of 5" in place.batchctl("start")
        type_in(place.project, read_solution(number), "test", "code", "docs")
        place.git("add", "-A")
        place.git("commit", "-q", "-m", read_solution(number).message[0])
        assert "is done" in place.batchctl("done")
    return place, start


@pytest.fixture
def copy(by_hand: tuple[demo.Place, str], tmp_path: Path) -> demo.Place:
    """A copy of the finished project, to be spoiled."""
    shutil.copytree(by_hand[0].project, tmp_path / "project")
    return demo.Place(tmp_path)


@pytest.mark.prove
def test_nothing_is_missing_in_a_batch_that_was_done_as_it_should(by_hand: tuple[demo.Place, str]) -> None:
    place, start = by_hand
    assert demo.find_problems(place, start, compaction=False) == []


def drop_a_commit(place: demo.Place) -> None:
    place.git("reset", "-q", "--hard", "HEAD~1")


def leave_something_uncommitted(place: demo.Place) -> None:
    (place.project / "left.txt").write_text("left\n", encoding="utf-8")


def break_the_tests(place: demo.Place) -> None:
    (place.project / "todo.py").write_text("raise SystemExit(1)\n", encoding="utf-8")
    place.git("commit", "-qam", "Break it")
    edit_state(place, lambda state: state["evidence"]["4"].update(commit=place.git("rev-parse", "HEAD")))


def take_evidence_away(place: demo.Place) -> None:
    edit_state(place, lambda state: state["evidence"].update({"2": {"verify": None}}))


def compact_nothing(place: demo.Place) -> None:
    """It was done by hand: there was no window."""


def edit_state(place: demo.Place, change: Callable[[dict[str, Any]], None]) -> None:
    path = place.project / ".claude" / "batch_state.json"
    state = json.loads(path.read_text(encoding="utf-8"))
    change(state)
    path.write_text(json.dumps(state), encoding="utf-8")


SPOILED = {
    drop_a_commit: "is not on the branch",
    leave_something_uncommitted: "Not committed",
    break_the_tests: "The tests fail on feature 5's commit",
    take_evidence_away: "Feature 3 has no evidence",
    compact_nothing: "No compaction",
}


@pytest.mark.prove
@pytest.mark.parametrize("spoil", SPOILED, ids=lambda spoil: spoil.__name__)
def test_the_demo_fails_when_something_is_missing(
    spoil: Callable[[demo.Place], None], copy: demo.Place, by_hand: tuple[demo.Place, str]
) -> None:
    spoil(copy)
    assert any(SPOILED[spoil] in text for text in demo.find_problems(copy, by_hand[1], compaction=True))
