"""What the text of an item says about its state."""

from __future__ import annotations

import pytest
from batch_implement.features.markdown.boxes import DASH, DONE, OPEN, UNCLEAR, UNKNOWN, find_end, is_like_box, read_box


@pytest.mark.parametrize(
    ("text", "state", "rest"),
    [
        ("[ ] a", OPEN, "a"),
        ("[x]\ta", DONE, "a"),
        ("[X] a", DONE, "a"),
        ("[/] a", OPEN, "a"),
        ("[~] a", OPEN, "a"),
        ("[>] a", OPEN, "a"),
        ("[!] a", OPEN, "a"),
        ("[-] a", DASH, "a"),
        ("[✔️] a", DONE, "a"),
        ("[❌] a", UNCLEAR, "a"),
        ("[s] a", UNKNOWN, "a"),
        ("[] a", OPEN, "a"),
        ("[   ] a", OPEN, "a"),
        ("[ ]a", OPEN, "a"),
        ("[ ]* a", OPEN, "a"),
        ("[ ]\\* a", OPEN, "a"),
        ("\\[x\\] a", DONE, "a"),
        ("☐ a", OPEN, "a"),
        ("☑ a", DONE, "a"),
        ("[ ]", OPEN, ""),
    ],
)
def test_a_box_has_a_state_and_a_text(text, state, rest):
    box = read_box(text)
    assert (box.state, box.text) == (state, rest)
    assert box.is_optional == ("*" in text)


@pytest.mark.parametrize(
    "text", ["a", "[ab] c", "[x](http://a)", "[ ][ref]", "[ ]: x", "`[ ] a`", "[a]b", "a [ ] b", ""]
)
def test_brackets_that_are_no_box_are_text(text):
    assert read_box(text) is None


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("~~a~~", "struck through"),
        ("**~~a~~**", "struck through"),
        ("<del>a</del>.", "struck through"),
        ("~~a~~ (see #3)", "struck through"),
        ("~~a~~ ✅", "struck through"),
        ("~~a~~ b", ""),
        ("a ~~b~~", ""),
        ("a ✅", "done"),
        ("a ✔️ 2024-01-02", "done"),
        ("Add it DONE", "done"),
        ("Add it **DONE**", "done"),
        ("a (done)", "done"),
        ("a (COMPLETE — PR #66)", "done"),
        ("a (done in v1.2, May 2024)", "done"),
        ("a (fixed by commit abc1234)", "done"),
        ("a\uff08完了 2024-05\uff09", "done"),
        ("a (done, but slow)", ""),
        ("a (fixed on Linux)", ""),
        ("a (done 3/7)", ""),
        ("a (done 5 of 7)", ""),
        ("a [completed 2024-01-02]", "done"),
        ("a - fixed", "done"),
        ("a — implemented!", "done"),
        ("DONE: a", "done"),
        ("get it done", ""),
        ("mark it as DONE", ""),
        ("a column `DONE`", ""),
        ("show ✅ when it works", ""),
        ("a (undone)", ""),
        ("FIXED width fonts", ""),
    ],
)
def test_what_is_struck_through_or_marked_as_done_is_found(text, reason):
    assert find_end(text) == reason


@pytest.mark.parametrize("line", ["- [ ] a", "  * [x] b", "3. [ ] c", "[ ] d", "- [] e", "-[ ] f"])
def test_a_line_can_look_like_a_box(line):
    assert is_like_box(line)


@pytest.mark.parametrize("line", ["- a", "[a] b", "- [x](y)", "see [ ] there", "[1]: http://x"])
def test_other_lines_do_not(line):
    assert not is_like_box(line)
