"""The topics that messages name: the sections of docs/troubleshooting.md, which the wheel has too.

    names()                 every topic, in the page's order
    section("lock-held")    its section, as it stands
    page()                  the path of the page

StateUnusable when the page cannot be read: then the installation is damaged.
"""

from __future__ import annotations

import os
import re

from ..base import project_paths
from ..core.errors import StateError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Dict, List

TOPICS_PAGE = "docs/troubleshooting.md"
_HEADING = re.compile(r"^(#{1,3}) (.*)$", re.MULTILINE)
TOPIC_HEADING = "###"


def page_path() -> str:
    """The absolute path of the page."""
    return os.path.join(project_paths.plugin_root(), TOPICS_PAGE)


def list_topics() -> List[str]:
    """Every topic that has a section, in the page's order."""
    return list(_read_topics())


def read_topic(topic: str) -> str:
    """The section of a topic of `names()`, from its heading on, without blank lines at its ends."""
    return _read_topics()[topic]


def _read_topics() -> Dict[str, str]:
    place = page_path()
    try:
        with open(place, encoding="utf-8") as file:
            text = file.read()
    except (OSError, ValueError) as error:
        raise StateError(
            f"{place} cannot be read: {error}. The plugin is probably damaged: install it again.", "installation"
        ) from error
    headings = list(_HEADING.finditer(text))
    ends = [*(heading.start() for heading in headings[1:]), len(text)]
    return {
        heading[2].strip(): text[heading.start() : end].strip()
        for heading, end in zip(headings, ends)
        if heading[1] == TOPIC_HEADING
    }
