"""Classify error messages and make texts fit for a log, for scripts: part of the library interface (docs/library.md).

    from failure_classifier import FailureType, classify_failure

`core.failure_classification` decides what is transient. All functions are linear in the length of the text.
"""

from __future__ import annotations

import enum
import re
from typing import Dict, List, Optional

from ..base import timestamps
from ..core import failure_classification

__all__ = [
    "FailureType", "classify_failure", "extract_error_context", "is_permanent_error", "is_transient_error",
    "sanitize_error_message", "sanitize_feature_name",
]  # fmt: skip

MAX_ERROR_MESSAGE_LENGTH = 1000
MAX_FEATURE_NAME_LENGTH = 200
TRUNCATED = "...[truncated]"
SANITIZED = " [sanitized]"

_LINE_BREAKS = dict.fromkeys((0x0A, 0x0B, 0x0C, 0x0D, 0x1C, 0x1D, 0x1E, 0x85, 0x2028, 0x2029), " ")
_INVISIBLE = (
    *range(0x20), *range(0x7F, 0xA0), 0xAD, 0x061C, 0x180E, *range(0x200B, 0x2010), *range(0x202A, 0x202F),
    *range(0x2060, 0x2070), 0xFEFF, *range(0xFFF9, 0xFFFC), *range(0xE0000, 0xE0080), *range(0xD800, 0xE000),
)  # fmt: skip
_ONE_LINE: Dict[int, Optional[str]] = {**dict.fromkeys(_INVISIBLE), **_LINE_BREAKS, 0x09: " "}
_ERROR_NAME = re.compile(r"\s*((?:[A-Za-z_]\w*\.)*[A-Za-z_]\w*(?:Error|Exception|Timeout|Interrupt|Warning))\b")


class FailureType(str, enum.Enum):
    """Whether a retry makes sense. A member equals its text: `FailureType.TRANSIENT == "transient"`."""

    TRANSIENT = "transient"
    PERMANENT = "permanent"


def classify_failure(message: Optional[str]) -> FailureType:
    """Return TRANSIENT when the cause passes by itself, else PERMANENT, also for an empty message."""
    return (
        FailureType.TRANSIENT
        if message and failure_classification.is_transient(str(message))
        else FailureType.PERMANENT
    )


def is_transient_error(message: Optional[str]) -> bool:
    """Return whether a later retry makes sense."""
    return classify_failure(message) is FailureType.TRANSIENT


def is_permanent_error(message: Optional[str]) -> bool:
    """Return whether a retry makes no sense; False for an empty message."""
    return bool(message) and classify_failure(message) is FailureType.PERMANENT


def sanitize_error_message(text: Optional[str]) -> str:
    """Return a message as one line of at most 1,000 visible characters; "" for None."""
    return "" if text is None else _truncate(str(text).translate(_ONE_LINE), MAX_ERROR_MESSAGE_LENGTH)


def sanitize_feature_name(name: Optional[str]) -> str:
    """Return a feature as one line of at most 200 visible characters without `../`, for logs and displays.

    The state keeps the whole text instead.
    """
    line = "" if name is None else str(name).translate(_ONE_LINE)
    kept = _remove_parent_steps(line)
    return _truncate(kept if kept == line else kept + SANITIZED, MAX_FEATURE_NAME_LENGTH)


def extract_error_context(message: Optional[str], feature_name: str) -> Dict[str, str]:
    """Return `{error_type, error_message, feature_name, timestamp, failure_type}` of a failure, each fit for a log."""
    error_name = _ERROR_NAME.match(str(message or "")[:MAX_ERROR_MESSAGE_LENGTH])
    before, colon, _ = str(message or "")[:100].partition(":")
    return {
        "error_type": error_name[1] if error_name else sanitize_error_message(before.strip()) if colon else "Unknown",
        "error_message": sanitize_error_message(message),
        "feature_name": sanitize_feature_name(feature_name),
        "timestamp": timestamps.now(),
        "failure_type": classify_failure(message).value,
    }


def _remove_parent_steps(text: str) -> str:
    """Return `text` without `../` and `..\\`, also without those that appear when others are removed."""
    if ".." not in text:
        return text
    kept: List[str] = []
    for char in text:
        if char in "/\\" and kept[-2:] == [".", "."]:
            del kept[-2:]
        else:
            kept.append(char)
    return "".join(kept)


def _truncate(text: str, longest: int) -> str:
    return text if len(text) <= longest else text[: longest - len(TRUNCATED)] + TRUNCATED
