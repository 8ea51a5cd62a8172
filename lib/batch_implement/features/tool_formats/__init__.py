"""Read the task files of other tools as lists of features.

    read = tool_formats.find_reader(document.value)     None where the shape is of no tool
    listing = read(document, "tasks.json", options)

A module for each tool: `recognize(value)` says whether a value has the tool's shape, `read(document, name, options)`
makes the listing or raises FeatureListError. The first module that recognizes a value reads it.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Callable, Optional

    from ..data_formats.located_values import Document
    from ..feature_list import Listing, ListOptions

    Reader = Callable[[Document, str, ListOptions], Listing]


def find_reader(value: Any) -> Optional[Reader]:
    """Return the function that reads a value of a tool's shape; None for any other value."""
    from . import beads, github_list, ralph_prd, task_master, task_objects

    modules: Any = (task_master, ralph_prd, beads, github_list, task_objects)
    return next((module.read for module in modules if module.recognize(value)), None)
