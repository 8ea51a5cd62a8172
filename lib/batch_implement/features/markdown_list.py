"""Read a list of features in Markdown: the open check boxes.

`- [ ] text`, also with `*`, `+`, `1.` and indented; ticked boxes, text outside of boxes and fenced code blocks are
ignored. A text may end in notes: see `feature_list`.
"""

from __future__ import annotations

import re

from ..base.text import clean
from .feature_list import (
    Feature,
    FeatureListError,
    Listing,
    ListOptions,
    check_features,
    decode_text,
    parse_feature,
    split_lines,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import List

BOX = re.compile(r"\s*(?:[-*+]|\d{1,9}[.)])\s+\[([ xX])\](?:\s+(.*))?$")
# What was surely meant as a box: brackets with nothing but blanks in them, and no link after them.
BROKEN_BOX = re.compile(r"\s*(?:[-*+]|\d{1,9}[.)])\s*\[\s*\](?![(\[])")
FENCE = re.compile(r"\s*(`{3,}|~{3,})(.*)$")
ID_NOTE = re.compile(r"\(\s*id\s*:\s*([A-Za-z0-9._-]+)\s*\)", re.IGNORECASE)


def read(data: bytes, name: str, options: ListOptions) -> Listing:
    """Return the open boxes of a checklist. Raises FeatureListError."""
    if not data.strip():
        raise FeatureListError("the file is empty. Write each feature as `- [ ] text`.", "features-file", name)
    features: List[Feature] = []
    ticked: List[str] = []
    fence, fence_line, boxes_in_fence = "", 0, 0
    for number, line in enumerate(split_lines(decode_text(data, name), name), start=1):
        mark = FENCE.match(line)
        box = BOX.match(line)
        if fence:
            boxes_in_fence += box is not None
            if mark and mark[1].startswith(fence) and not mark[2].strip():
                fence = ""
        elif mark and not (mark[1][0] == "`" and "`" in mark[2]):
            fence, fence_line, boxes_in_fence = mark[1], number, 0
        elif box and box[1] != " ":
            ticked.append(line)
        elif box:
            text = clean(box[2] or "").strip()
            if text:
                features.append(parse_feature(text, name, number))
        elif BROKEN_BOX.match(line):
            shown = clean(line).strip()[:60]
            raise FeatureListError(
                f"{shown!r} is probably meant as a check box. Write it as `- [ ] text`.",
                "features-line",
                name,
                number,
            )
    if fence and boxes_in_fence:
        raise FeatureListError(
            "this code block never ends; the check boxes in it would be lost. Close it.",
            "features-line",
            name,
            fence_line,
        )
    if not features and ticked:
        raise FeatureListError(
            f"no open features: all {len(ticked)} check boxes are ticked. Untick what is still to do.",
            "features-file",
            name,
        )
    if not features:
        raise FeatureListError(
            "no features: there is no check box. Write each feature as `- [ ] text`, or name the file .txt if each "
            "line is a feature.",
            "features-file",
            name,
        )
    return Listing(check_features(_drop_ticked_dependencies(features, ticked, name), name), {})


def _drop_ticked_dependencies(features: List[Feature], ticked: List[str], name: str) -> List[Feature]:
    """Return the open features without references to ids of ticked boxes, which are done.

    Raises FeatureListError for a number, which would mean another box after each tick.
    """
    if not ticked:
        return features
    done = {identifier.casefold() for line in ticked for identifier in ID_NOTE.findall(line)}
    done -= {feature.details["id"].casefold() for feature in features if "id" in feature.details}
    remaining = []
    for feature in features:
        details = dict(feature.details)
        references = details.pop("depends_on", [])
        for reference in references:
            if reference.isdigit():
                raise FeatureListError(
                    f"`(after: {reference})` counts open boxes, and each tick changes their numbers. Give the box that "
                    "is meant an id, `(id: NAME)`, and name that.",
                    "feature-order",
                    name,
                    feature.line,
                )
        needed = [reference for reference in references if reference.casefold() not in done]
        remaining.append(feature._replace(details={**details, "depends_on": needed} if needed else details))
    return remaining
