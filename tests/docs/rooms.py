"""The rooms of the package as ARCHITECTURE.md lists them.

rooms.PAGE          the page's text
rooms.groups()      heading -> its rooms; a folder by its name, a file without `.py`, one of a folder as `folder/file`
rooms.listed()      all rooms, from the top to the bottom
rooms.layers()      the same by folder, as import-linter is told it
"""

from __future__ import annotations

import re
from pathlib import Path

PAGE = (Path(__file__).resolve().parents[2] / "ARCHITECTURE.md").read_text(encoding="utf-8")


def groups() -> dict[str, list[str]]:
    """The headings of the list in its order, each with its rooms."""
    block = PAGE.split("a heading that ends in `/` is a folder:\n\n", 1)[1].split("\n\n", 1)[0]
    found: dict[str, list[str]] = {}
    heading = ""
    for line in block.splitlines():
        if line.startswith("      "):
            folder = heading if heading.endswith("/") else ""
            found[heading].append(folder + re.sub(r"\.py$|/$", "", line.split()[0]))
        else:
            heading = line.strip()
            assert heading not in found
            found[heading] = []
    return found


def listed() -> list[str]:
    """The rooms in the order of the page."""
    return [room for group in groups().values() for room in group]


def layers() -> dict[str, list[str]]:
    """Folder of the package, "" for itself -> what lies in it, from the top to the bottom."""
    found: dict[str, list[str]] = {"": []}
    for room in listed():
        folder, _, name = room.rpartition("/")
        found.setdefault(folder, []).append(name)
        if folder and folder not in found[""]:
            found[""].append(folder)
    return found
