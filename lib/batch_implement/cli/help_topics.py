"""Read the help topics that errors name: the sections of docs/troubleshooting.md, which is part of the wheel.

Raises StateError when the page cannot be read: then the installation is damaged.
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
    """Return the absolute path of the page with the topics."""
    return os.path.join(project_paths.plugin_root(), TOPICS_PAGE)


def list_topics() -> List[str]:
    """Return the names of all topics, in the order of the page."""
    return list(_read_topics())


def read_topic(topic: str) -> str:
    """Return the section of a topic of `list_topics()`, with its heading."""
    return _read_topics()[topic]


def _read_topics() -> Dict[str, str]:
    path = page_path()
    try:
        with open(path, encoding="utf-8") as file:
            text = file.read()
    except (OSError, ValueError) as error:
        raise StateError(
            f"Cannot read {path}: {error}. The plugin is probably damaged: install it again.", "installation"
        ) from error
    headings = list(_HEADING.finditer(text))
    ends = [*(heading.start() for heading in headings[1:]), len(text)]
    return {
        heading[2].strip(): text[heading.start() : end].strip()
        for heading, end in zip(headings, ends)
        if heading[1] == TOPIC_HEADING
    }
