"""Which paths a script may use, and the audit log: part of the interface that batch scripts import (docs/library.md).

    from security_utils import audit_log, validate_path

What is allowed, and where the log is, is decided in `batch_implement.api.path_policy`.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any, Optional

from . import path_policy

__all__ = ["audit_log", "validate_path"]


def validate_path(
    path: str | os.PathLike[str], purpose: str, allow_missing: bool = False, test_mode: Optional[bool] = None
) -> Path:
    """`path` as an absolute path without links, in the project or in `~/.claude`; ValueError for any other.

    The message says what was wrong, what the path was for and what is allowed; the audit log has it too. `test_mode`
    is accepted for older scripts and does nothing.
    """
    try:
        return Path(path_policy.validate_path(path, purpose, must_exist=not allow_missing))
    except path_policy.PathRefused as refused:
        path_policy.log_refusal("validate_path", refused)
        raise


def audit_log(event_type: str, status: str, context: Any) -> None:
    """Append one line, a JSON object, to the project's audit log. Never raises; takes values that are not JSON."""
    path_policy.log_event(event_type, status, context)
