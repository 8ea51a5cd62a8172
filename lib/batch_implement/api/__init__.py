"""The library interface (docs/library.md): `from batch_implement import api`, then `api.load_batch_state(path)`.

A name is imported from its module at first use, so that importing this package costs nothing.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, List

_NAMES_BY_MODULE = {
    "batch_state_manager": (
        "CONTEXT_THRESHOLD", "DEFAULT_STATE_FILE", "LOCK_TIMEOUT", "BatchState", "BatchStateDurabilityError",
        "BatchStateError", "BatchStateManager", "BatchStateValueError", "audit_log_security_event",
        "cleanup_batch_state", "create_batch_state", "estimate_context_tokens", "get_clear_notification_message",
        "get_default_state_file", "get_feature_git_status", "get_next_pending_feature", "get_retry_count",
        "increment_retry_count", "load_batch_state", "mark_feature_status", "pause_batch_for_clear",
        "record_auto_clear_event", "record_git_operation", "save_batch_state", "should_auto_clear",
        "should_clear_context", "update_batch_progress",
    ),
    "failure_classifier": (
        "FailureType", "classify_failure", "extract_error_context", "is_permanent_error", "is_transient_error",
        "sanitize_error_message", "sanitize_feature_name",
    ),
    "path_utils": ("find_project_root", "get_batch_state_file", "get_project_root", "reset_project_root_cache"),
    "security_utils": ("audit_log", "validate_path"),
}  # fmt: skip
_MODULE_OF = {name: module for module, names in _NAMES_BY_MODULE.items() for name in names}


def __getattr__(name: str) -> Any:
    module = _MODULE_OF.get(name)
    if module is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(f".{module}", __name__), name)


def __dir__() -> List[str]:
    return sorted({*globals(), *_MODULE_OF})
