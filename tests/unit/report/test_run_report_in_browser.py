"""The run report in a real browser. One test, as each start of a browser costs a second of this machine."""

from __future__ import annotations

import re

import pytest
from batch_implement.report import run_report
from batch_implement.report.report_files import read_style_sheet
from batch_implement.report.run_report_html import render_html
from browser import CHROMIUM, Browser
from run_report_hostile import FRAGMENTS, rewritten
from run_report_samples import at, client_state, run_state

VIEWS = [
    *(("run", width, dark) for width in (390, 1280) for dark in (False, True)),
    ("by hand", 1280, False), ("hostile", 390, False), ("long", 390, False),
]  # fmt: skip
SMALLEST = """Math.min(...[...document.querySelectorAll('main *')].slice(0, 500)
    .filter(entry => entry.textContent.trim()).map(entry => parseFloat(getComputedStyle(entry).fontSize)))"""
TOO_WIDE = '<div style="width:3000px">x</div>'
FROM_ELSEWHERE = '<img src="http://there.invalid/x.png">'


def written(folder, name, state, more=""):
    """The page of a state in a file, with `more` at its end."""
    path = folder / f"{name}.html"
    document = render_html(run_report.build_report(state, at(700)), read_style_sheet()).replace(
        "</main>", f"{more}</main>"
    )
    path.write_bytes(document.encode("utf-8", "replace"))
    return path


def as_rgb(colour):
    return f"rgb({', '.join(str(int(colour[at : at + 2], 16)) for at in (1, 3, 5))})"


def troubles(browser, path, width, dark):
    """What is wrong with a page on a screen of that width, all of it unfolded; words, none when nothing is."""
    request_count, message_count = len(browser.requests), len(browser.said)
    browser.open(path, width=width, dark=dark)
    browser.value("document.querySelectorAll('details').forEach(entry => entry.open = true)")
    light, dark_page = re.findall("--page:(#[0-9a-f]{6})", read_style_sheet())
    ground = as_rgb(dark_page if dark else light)
    checks = {
        f"its width is not {width}": browser.value("document.documentElement.scrollWidth") != width,
        f"its ground is not {ground}": browser.value("getComputedStyle(document.body).backgroundColor") != ground,
        "a letter is smaller than 12 pixels": browser.value(SMALLEST) < 12,
        "it has a script": browser.value("document.scripts.length") != 0,
        "it is not in standards mode": browser.value("document.compatMode") != "CSS1Compat",
        "it asked for more than itself": browser.requests[request_count:] != [path.as_uri()],
        "the browser had something to say": browser.said[message_count:] != [],
    }
    return [words for words, wrong in checks.items() if wrong]


@pytest.mark.skipif(CHROMIUM is None, reason="chromium is not installed (in Debian: package chromium)")
def test_the_report_fits_a_phone_and_a_desk_light_and_dark_and_fetches_nothing(tmp_path):
    long_word = "w" * 400
    pages = {
        "run": written(tmp_path, "run", run_state(60)),
        "by hand": written(tmp_path, "by-hand", client_state()),
        "hostile": written(tmp_path, "hostile", rewritten(run_state(8), "x " + "".join(FRAGMENTS), times=False)),
        "long": written(tmp_path, "long", rewritten(run_state(8), long_word, times=False)),
    }
    with Browser(tmp_path) as browser:
        for name, width, dark in VIEWS:
            assert troubles(browser, pages[name], width, dark) == [], (name, width, dark)
            if name == "run":
                assert browser.value("document.querySelectorAll('rect.bar').length") > 60
        picture = browser.picture()
        assert picture.startswith(b"\x89PNG") and len(picture) > 5_000
        wide = written(tmp_path, "wide", run_state(8), TOO_WIDE)
        assert troubles(browser, wide, 390, dark=False) == ["its width is not 390"]
        fetching = written(tmp_path, "fetching", run_state(8), FROM_ELSEWHERE)
        assert "the browser had something to say" in troubles(browser, fetching, 390, dark=False)
