"""What is said about how a list was read."""

from __future__ import annotations

from batch_implement.features.feature_list import Feature, LeftOut, Listing
from batch_implement.report import list_reading

LEFT_OUT = [LeftOut(number, f"text \x1b {number}", "done") for number in range(1, 8)] + [LeftOut(9, "# A", "heading")]
LISTING = Listing([Feature("a", 8)], {}, "Markdown checklist: 1 open of 8", LEFT_OUT, ["One \x1b note."])


def test_the_lines_that_are_left_out_are_shown_by_reason_within_bounds():
    assert list_reading.format_reading(LISTING) == [
        "Note: One   note.",
        "8 lines left out:",
        "  done (7):",
        *(f"    line {number}: text {number}" for number in range(1, 6)),
        "    ... and 2 more (`--json` lists them)",
        "  heading (1):",
        "    line 9: # A",
    ]


def test_the_same_is_there_as_data():
    data = list_reading.reading_data(LISTING)
    assert data["left_out"][0] == {"line": 1, "text": "text 1", "reason": "done"}
    assert (data["format"], data["notes"], data["left_out_total"]) == (LISTING.format, ["One   note."], 8)
    many = LISTING._replace(left_out=LEFT_OUT * 1_000)
    assert len(list_reading.reading_data(many)["left_out"]) == 2_000
    assert list_reading.reading_data(many)["left_out_total"] == 8_000


def test_the_count_of_left_out_lines_is_one_sentence():
    assert list_reading.summarize_left_out([]) == ""
    assert list_reading.summarize_left_out([LeftOut(1, "a", "done")]) == "1 line left out: `--dry-run` shows it."
    assert (
        list_reading.summarize_left_out([LeftOut(1, "a", "done")] * 7 + [LeftOut(2, "b", "done in batch x")])
        == "7 lines left out: `--dry-run` shows them."
    )
