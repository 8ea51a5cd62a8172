"""CHANGELOG.md has the form of Keep a Changelog, and one form for what that leaves open.

`## [Unreleased]`, then `## [1.2.3] - 2027-01-31`, the newest first; below each some of KINDS, in their order; entries
begin with `- ` and end with a full stop; a page that is named is a link, `[docs/state.md](docs/state.md)`. What was
mended says first what was wrong: `Previously ...`.
"""

from __future__ import annotations

import datetime
import re

import pytest
from pages import REPOSITORY

TEXT = (REPOSITORY / "CHANGELOG.md").read_text(encoding="utf-8")
KINDS = ["Added", "Changed", "Deprecated", "Removed", "Fixed", "Security"]
ADDRESSES = ("https://keepachangelog.com/en/1.1.0/", "https://semver.org/spec/v2.0.0.html")
_VERSION = re.compile(r"\[(\d+)\.(\d+)\.(\d+)\] - (\d{4}-\d\d-\d\d)")


def wrong(text: str) -> list[str]:
    """What is not as it should be, a sentence each."""
    beginning, *sections = re.split(r"^## ", text, flags=re.MULTILINE)
    headings = [section.partition("\n")[0] for section in sections]
    found = [] if beginning.startswith("# Changelog\n") else ["it has another title"]
    found += [f"it does not say {address}" for address in ADDRESSES if f"({address})" not in beginning]
    if headings[:1] != ["[Unreleased]"]:
        found.append("it does not begin with what is unreleased")
    released = [_VERSION.fullmatch(heading) for heading in headings[1:]]
    found += [f"{heading}: no version with a date" for heading, read in zip(headings[1:], released) if not read]
    versions = [(*map(int, read.groups()[:3]), read[4]) for read in released if read]
    if versions != sorted(versions, reverse=True) or len({version[:3] for version in versions}) < len(versions):
        found.append("the newest version is not the first, or one is there twice")
    if [version[3] for version in versions] != sorted((version[3] for version in versions), reverse=True):
        found.append("an older version has a later date")
    found += [f"{version[3]} is no day" for version in versions if not _is_day(version[3])]
    return found + [f"{heading}: {what}" for heading, section in zip(headings, sections) for what in _entries(section)]


def _is_day(text: str) -> bool:
    try:
        return bool(datetime.date.fromisoformat(text))
    except ValueError:
        return False


def _entries(section: str) -> list[str]:
    """What is not as it should be in the kinds and entries of one version."""
    _, *parts = re.split(r"^### ", section, flags=re.MULTILINE)
    kinds = [part.partition("\n")[0] for part in parts]
    found = [] if kinds == [kind for kind in KINDS if kind in kinds] else [f"{', '.join(kinds)}: other kinds or order"]
    for kind, part in zip(kinds, parts):
        entries = re.findall(r"^- .*(?:\n  .*)*", part, re.MULTILINE)
        if part.split("\n", 1)[1].strip() != "\n".join(entries) or not entries:
            found.append(f"{kind}: something else than entries")
        found += [f"{entry}: it has no full stop" for entry in entries if not entry.endswith(".")]
        if kind == "Fixed":
            found += [f"{entry}: what was wrong?" for entry in entries if not entry.startswith("- Previously ")]
    bare = re.sub(r"\[([^\]\n]+)\]\(\1\)|`[^`]*`", "", section)
    return found + [f"{page} is no link" for page in re.findall(r"[\w/]+\.md\b|\]\(\S*", bare)]


def test_it_has_its_form() -> None:
    assert wrong(TEXT) == []


NEXT = """## [Unreleased]

## [0.2.0] - 2027-02-01

### Fixed

- Previously it was wrong.

## [0.1.0] - 2027-01-31
"""
AS_IT_COULD_BE = TEXT.replace("## [Unreleased]\n", NEXT)


def test_it_can_have_versions() -> None:
    assert wrong(AS_IT_COULD_BE) == []


@pytest.mark.parametrize(
    ("old", "new", "what"),
    [
        ("# Changelog", "# Changes", "another title"), ("1.1.0", "1.0.0", "does not say https://keepachangelog"),
        ("[Unreleased]", "Unreleased", "what is unreleased"), ("## [Unreleased]\n", "", "what is unreleased"),
        ("[0.2.0] -", "[0.2] -", "no version"), ("[0.2.0] -", "0.2.0 -", "no version"),
        ("- 2027-02-01", "", "no version"),
        ("[0.2.0]", "[0.0.9]", "newest version"), ("[0.2.0]", "[0.1.0]", "twice"), ("[0.1.0]", "[0.10.0]", "newest"),
        ("2027-02-01", "2026-02-01", "later date"), ("2027-02-01", "2027-02-30", "is no day"),
        ("### Fixed", "### Mended", "other kinds"),
        ("### Fixed", "### Fixed\n\n- Previously no.\n\n### Added", "order"),
        ("was wrong.", "was wrong", "full stop"), ("Previously it", "It", "what was wrong?"),
        ("- Previously", "* Previously", "something else"), ("- Previously it was wrong.", "", "something else"),
        ("it was", "docs/state.md was", "docs/state.md is no link"),
        ("it was", "[this](docs/state.md) was", "is no link"),
    ],
)  # fmt: skip
def test_another_form_is_noticed(old: str, new: str, what: str) -> None:
    found = wrong(AS_IT_COULD_BE.replace(old, new, 1))
    assert any(what in said for said in found), found
