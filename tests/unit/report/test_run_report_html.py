"""The run report as HTML: well formed, self-contained, legible, and nothing but text whatever it tells of."""

from __future__ import annotations

import re
import time
from html.parser import HTMLParser

import pytest
from batch_implement.report import formatting, run_report, run_report_html, timeline
from batch_implement.report.report_files import read_style_sheet
from batch_implement.report.run_report_html import render_html
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from run_report_hostile import FRAGMENTS, batches, rewritten
from run_report_samples import at, client_state, huge, run_state

NOW = at(500)
VOID = {"meta", "br"}
TAGS = VOID | {
    "html", "head", "title", "style", "body", "main", "header", "section", "footer", "h1", "h2", "h3", "p", "ul", "ol",
    "li", "dl", "dt", "dd", "pre", "code", "span", "b", "a", "div", "details", "summary", "table", "thead", "tbody",
    "tr", "th", "td", "svg", "rect", "line", "circle", "text",
}  # fmt: skip
REACHES_OUT = re.compile(r"url\(|@import|expression|src\s*=|<\s*(?:link|script|iframe|object|embed|form|base)", re.I)


class Page(HTMLParser):
    """A document as its elements, held to what the report may have: `elements` are (tag, attributes), `links` the
    addresses, `text` what is read, `style` the style sheet.
    """

    def __init__(self, document: str) -> None:
        super().__init__(convert_charrefs=True)
        self.elements: list[tuple[str, tuple[tuple[str, str | None], ...]]] = []
        self.open: list[str] = []
        self.headings: list[int] = []
        self.links: list[str] = []
        self.text = self.style = ""
        self.feed(document)
        self.close()
        assert self.open == [], "not every element is closed"

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_startendtag(tag, attrs)
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        assert tag in TAGS, f"<{tag}>"
        for name, value in attrs:
            assert not name.startswith("on") and name not in ("style", "src", "srcset", "action"), name
            if name == "href":
                assert tag == "a" and formatting.tracker_url(value) == value
                self.links.append(value or "")
        if re.fullmatch("h[1-6]", tag):
            self.headings.append(int(tag[1]))
        self.elements.append((tag, tuple(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open and self.open.pop() == tag, f"</{tag}>"

    def handle_data(self, data: str) -> None:
        if self.open[-1:] == ["style"]:
            self.style += data
        else:
            self.text += data

    def handle_comment(self, data: str) -> None:
        raise AssertionError(f"a comment: {data}")

    def handle_pi(self, data: str) -> None:
        raise AssertionError(f"an instruction: {data}")

    def unknown_decl(self, data: str) -> None:
        raise AssertionError(f"a declaration: {data}")


def page(state, now=NOW):
    return Page(render_html(run_report.build_report(state, now), read_style_sheet()))


@pytest.mark.parametrize("state", [run_state(), client_state(), run_state(70), run_state(8, ended=False)])
def test_the_document_is_well_formed_and_needs_nothing_else(state):
    document = render_html(run_report.build_report(state, NOW), read_style_sheet())
    shown = Page(document)
    assert document.startswith("<!doctype html>")
    assert not REACHES_OUT.search(shown.style)
    assert not REACHES_OUT.search(document)
    assert shown.links == []
    assert "default-src 'none'" in dict(shown.elements[3][1])["content"]


def test_headings_come_in_order():
    levels = page(run_state()).headings
    assert levels[0] == 1 and levels.count(1) == 1
    assert all(after <= before + 1 for before, after in zip(levels, levels[1:]))


def test_everything_that_the_data_tells_is_there():
    text = page(run_state()).text
    for words in (
        "17 of 20 features done", "ended, 3 not done", "Feature 5 failed after 2 attempts", "batchctl retry 5",
        "blocked by feature 5", "git merge batch/", "needed no change", "The option is there since the first version.",
        "Which separator", "1 h 12 min", "the usage limit is reached", "$8.82 of $40.00", "651",
        "Looks right.", "on a new base", "/srv/project.worktrees/batch/5-feature.2", "5-hour limit reached",
        "All times are UTC",
    ):  # fmt: skip
        assert words in text, words


def test_the_time_line_stays_within_its_picture_and_names_every_bar():
    data = run_report.build_report(run_state(), NOW)
    svg = timeline.render_svg(data.time_line, data.time_line.lanes)
    shown = Page(svg)
    boxes = [dict(attrs) for tag, attrs in shown.elements if tag == "rect"]
    for box in boxes:
        left, width = (float(box[name].rstrip("%")) for name in ("x", "width"))
        assert left >= 0 and width > 0 and left + width <= 100.2
    assert svg.count("<title>") == sum(tag in ("rect", "circle") for tag, _ in shown.elements)
    assert "Feature 4, attempt 1: interrupted, 23:30 to 23:48 UTC" in shown.text
    assert len([box for box in boxes if "hollow" in box["class"]]) == 3


def test_a_list_of_many_features_is_folded_and_says_how_many():
    shown = page(run_state(70))
    assert "10 more features" in shown.text
    assert [tag for tag, _ in shown.elements].count("svg") > 2


def test_ten_thousand_features_are_told_in_linear_time_and_four_megabytes():
    def render(features):
        state, began = huge(features), time.process_time()
        text = render_html(run_report.build_report(state, at(3000)), read_style_sheet())
        return text, time.process_time() - began

    _, of_a_tenth = min((render(1000) for _ in range(3)), key=lambda rendered: rendered[1])
    document, of_all = render(10_000)
    assert of_all < 40 * of_a_tenth, "ten times as many features take more than forty times as long"
    assert len(document) < 4_000_000
    assert "9,900 of 10,000 features done" in document
    assert "9,940 more features" in document
    assert "9,000 more are not drawn" in document


# -- links -------------------------------------------------------------------------------------------------------------


def test_only_the_addresses_of_pull_requests_and_issues_become_links():
    good, bad = "https://code.invalid/o/r/pull/7", "javascript:alert(1)/pull/7"
    record = {"success": True, "timestamp": NOW, "number": 7, "url": good}
    state = run_state(8)
    state = {**state, "git_operations": {"0": {"pr": record}, "1": {"pr": {**record, "url": bad}}}}
    shown = page(state)
    assert shown.links == [good]
    assert bad not in shown.text
    (attributes,) = [dict(attrs) for tag, attrs in shown.elements if tag == "a"]
    assert attributes["rel"] == "noreferrer noopener"


def test_a_pull_request_that_is_open_is_linked_also_when_there_was_trouble_with_it():
    good = "https://code.invalid/o/r/pull/7"
    record = {"success": True, "timestamp": NOW, "number": 7, "url": good, "error": "its text is <old>"}
    state = run_state(8)
    state = {**state, "git_operations": {"0": {"pr": record}}, "run": {**state["run"], "pull_request": record}}
    shown = page(state)
    assert shown.links == [good, good]
    assert shown.text.count("error: its text is <old>") == 2
    assert "Pull request of feature 1 failed" in shown.text


# -- hostile texts -----------------------------------------------------------------------------------------------------

HOSTILE = st.lists(st.one_of(st.sampled_from(FRAGMENTS), st.text(max_size=5)), max_size=12).map("".join)
STATES = batches()


def is_only_text(text: str, state, *, times: bool) -> None:
    """Fails unless a batch full of `text` is told with the very elements of one that says `x y` everywhere."""
    shown = page(rewritten(state, f"x {text}", times=times))
    plain = page(rewritten(state, "x y", times=times))
    assert shown.elements == plain.elements
    assert shown.style == plain.style
    assert not any((char < " " and char != "\n") or char in "\u202e\u2066\u2028\x85" for char in shown.text)


@settings(max_examples=12, deadline=None, suppress_health_check=list(HealthCheck))
@given(text=HOSTILE, state=st.sampled_from(STATES), times=st.booleans())
def test_no_text_becomes_more_than_text(text, state, times):
    is_only_text(text, state, times=times)


@pytest.mark.parametrize("fragment", FRAGMENTS)
def test_nor_does_any_of_the_known_tricks(fragment):
    is_only_text(fragment * 2, STATES[0], times=False)


def test_the_proof_notices_a_text_that_is_not_escaped(monkeypatch):
    monkeypatch.setattr(run_report_html, "escape", str)
    with pytest.raises(AssertionError):
        is_only_text("<i>", STATES[0], times=False)


def test_the_proof_notices_a_text_that_is_not_cleaned(monkeypatch):
    monkeypatch.setattr(formatting.text, "clean", str)
    with pytest.raises(AssertionError):
        is_only_text("\u202e", STATES[0], times=False)


# -- legible -----------------------------------------------------------------------------------------------------------


def contrast(one: str, other: str) -> float:
    """The contrast of two colours, 1 to 21, as WCAG has it."""

    def luminance(colour: str) -> float:
        parts = [int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5)]
        red, green, blue = (part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts)
        return 0.2126 * red + 0.7152 * green + 0.0722 * blue

    light, dark = sorted((luminance(one), luminance(other)), reverse=True)
    return (light + 0.05) / (dark + 0.05)


def test_contrast_is_computed_as_it_should_be():
    assert contrast("#000000", "#ffffff") == pytest.approx(21)
    assert contrast("#777777", "#ffffff") == pytest.approx(4.48, abs=0.01)


SHEET = read_style_sheet()
LIGHT, DARK = (
    dict(re.findall(r"--(\w+):(#[0-9a-f]{6})", part)) for part in SHEET.split("@media print")[0].split("dark){")
)


@pytest.mark.parametrize("colours", [LIGHT, DARK], ids=["light", "dark"])
def test_every_text_has_contrast_enough(colours):
    texts = set(colours) - {"page", "card", "sunk", "rule", "band"}
    low = {
        (text, ground): round(contrast(colours[text], colours[ground]), 2)
        for text in texts
        for ground in ("page", "card", "sunk")
        if contrast(colours[text], colours[ground]) < 4.5
    }
    assert not low
    assert all(contrast(colours[text], colours["band"]) >= 3 for text in texts)  # bars that cross a wait


def test_every_class_of_the_time_line_has_a_colour():
    assert set(LIGHT) == set(DARK) and len(LIGHT) > 10
    coloured = ",".join(re.findall(r"^([.,\w]+){--colour:var\(--\w+\)}$", SHEET, re.MULTILINE)).split(",")
    outcomes = set(timeline.OUTCOME_WORDS)
    assert {f".{name}" for name in outcomes} <= set(coloured)
    assert all(f"--{name}:" in SHEET for name in re.findall(r"var\(--(\w+)\)", SHEET))
    assert (f"--lane:{timeline.LANE_PX}px" in SHEET, f"--axis:{timeline.AXIS_PX}px" in SHEET) == (True, True)
