"""The pictures of the pages are files of their own: well-formed, small, and nothing in them comes from elsewhere."""

from __future__ import annotations

import re
from pathlib import Path
from xml.etree import ElementTree

import picture_run
import pytest

REPOSITORY = Path(__file__).resolve().parents[2]
PICTURES = sorted(REPOSITORY.glob("docs/*.svg"))
SVG = "{http://www.w3.org/2000/svg}"


def test_there_are_the_pictures_that_the_pages_show() -> None:
    pages = [REPOSITORY / "README.md", *REPOSITORY.glob("docs/*.md")]
    shown = {
        (page.parent / name).resolve()
        for page in pages
        for name in re.findall(r"!\[[^\]]+\]\(([^)\s]+\.svg)\)", page.read_text(encoding="utf-8"))
    }
    assert shown == set(PICTURES)


@pytest.mark.parametrize("path", PICTURES, ids=lambda path: path.name)
def test_a_picture_is_small_has_a_title_and_names_no_host(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    root = ElementTree.fromstring(text)
    assert root.get("role") == "img"
    assert root.findtext(f"{SVG}title")
    assert len(text.encode()) < 60_000
    assert "//" not in text.replace(SVG.strip("{}"), "")
    assert not re.search(r"@import|@font-face|url\((?!#)|<script|<image|href=", text)


def test_the_picture_of_a_run_shows_what_the_demo_printed() -> None:
    printed = """
$ cd /somewhere/project
$ claude -p "/batch-implement features.txt" --plugin-dir /somewhere/else --permission-mode default

00:00  batch           batch-20260101-000000-000000: 0 of 2 done
00:00  client          Claude Code

00:01  feature 1 of 2  First
00:02    done          commit 0123456789ab, verify passed in 0.4 s

00:03  feature 2 of 2  Second <&> third
00:04    verify        tests: OK
00:05    done          commit ba9876543210, verify passed in 12.0 s

$ git log --oneline
"""
    lines = picture_run.picture_lines(printed)
    assert [line.strip() for line in lines] == [
        '$ claude -p "/batch-implement features.txt" --plugin-dir ~/batch-implement',
        "",
        "00:00  batch           batch-20260101-000000-000000: 0 of 2 done",
        "",
        "00:01  feature 1 of 2  First",
        "00:02    done          commit 0123456789ab, verify passed in 0.4 s",
        "",
        "00:03  feature 2 of 2  Second <&> third",
        "00:05    done          commit ba9876543210, verify passed in 12.0 s",
    ]
    drawn = picture_run.read_svg(picture_run.draw_svg(lines))
    assert picture_run.normalize_lines(drawn) == picture_run.normalize_lines(lines)
    assert picture_run.normalize_lines(["00:02    done  commit 0123456789ab, verify passed in 0.4 s"]) == [
        "*donecommit*,verifypassedin*"
    ]
