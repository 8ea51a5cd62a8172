"""Read a list of features in plain text: one feature per line.

Blank lines and lines that begin with `#` are ignored. A line may end in notes: see `feature_list`.
"""

from __future__ import annotations

from ..base.text import clean
from .feature_list import (
    FeatureListError,
    Listing,
    ListOptions,
    check_features,
    decode_text,
    parse_clean_feature,
    split_lines,
)


def read(data: bytes, name: str, options: ListOptions) -> Listing:
    """Return the features of a text. Raises FeatureListError."""
    if not data.strip():
        raise FeatureListError("the file is empty. Write one feature per line.", "features-file", name)
    features = []
    for number, line in enumerate(split_lines(decode_text(data, name), name), start=1):
        text = clean(line).strip()
        if text and text[0] != "#":
            features.append(parse_clean_feature(text, name, number))
    if not features:
        raise FeatureListError(
            "no features: every line is blank or a comment (#). Write one feature per line.", "features-file", name
        )
    return Listing(check_features(features, name), {})
