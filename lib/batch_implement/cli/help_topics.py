"""Read the help topics that errors name: the sections of docs/troubleshooting.md, which is part of the wheel.

Raises StateError when the page cannot be read: then the installation is damaged.
"""

from __future__ import annotations

import os
import re

from ..base import project_paths
from ..core.errors import StateError, UsageError
from . import arguments

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Dict

TOPICS_PAGE = "docs/troubleshooting.md"
_HEADING = re.compile(r"^(#{1,3}) (.*)$", re.MULTILINE)
TOPIC_HEADING = "###"


def page_path() -> str:
    """Return the absolute path of the page with the topics."""
    return os.path.join(project_paths.plugin_root(), TOPICS_PAGE)


def read_topic(topic: str) -> str:
    """Return the section of a topic, with its heading. Raises UsageError with a suggestion if there is none."""
    topics = _read_topics()
    if topic not in topics:
        known = [*(name for _, names in arguments.COMMAND_GROUPS for name in names), *topics]
        raise UsageError(
            f"Unknown command or topic {topic[:40]!r}.{arguments.suggest(topic, known)} `batchctl help` lists the "
            f"commands; topics are the headings of {page_path()}.",
            "usage",
        )
    return topics[topic]


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
