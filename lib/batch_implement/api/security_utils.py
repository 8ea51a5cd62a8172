"""Validate paths and write the audit log, for scripts: part of the library interface (docs/library.md).

    from security_utils import audit_log, validate_path

`allowed_paths` decides what is allowed and where the log is.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any, Optional

from . import allowed_paths

__all__ = ["audit_log", "validate_path"]


def validate_path(
    path: str | os.PathLike[str], purpose: str, allow_missing: bool = False, test_mode: Optional[bool] = None
) -> Path:
    """Return `path` as an absolute path without links, in the project or in `~/.claude`. Raises ValueError for others.

    The message says what is wrong, the purpose and what is allowed; the audit log has it. `test_mode` does nothing.
    """
    try:
        return Path(allowed_paths.validate_path(path, purpose, must_exist=not allow_missing))
    except allowed_paths.PathRefused as error:
        allowed_paths.log_refusal("validate_path", error)
        raise


def audit_log(event_type: str, status: str, context: Any) -> None:
    """Append one line, a JSON object, to the project's audit log. Never raises; takes values that are not JSON."""
    allowed_paths.log_event(event_type, status, context)
