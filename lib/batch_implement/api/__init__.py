"""The library interface (docs/library.md): `from batch_implement import api`, then `api.load_batch_state(path)`.

The names are those of its public modules, looked up at each use, because scripts patch them there.
"""

from __future__ import annotations

from typing import Any, List

from . import batch_state_manager, failure_classifier, path_utils, security_utils

_MODULES = (batch_state_manager, failure_classifier, path_utils, security_utils)


def __getattr__(name: str) -> Any:
    for module in _MODULES:
        if name in module.__all__:
            return getattr(module, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> List[str]:
    return sorted({*globals(), *(name for module in _MODULES for name in module.__all__)})
