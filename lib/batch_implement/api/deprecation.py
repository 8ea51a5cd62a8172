"""What stands before the calls of the library interface: what a call raises, what it says when it is an old one, and
how it is a method.
"""

from __future__ import annotations

import functools
import warnings

from ..core.errors import BatchError, RefusedError, UsageError
from ..store import atomic_files
from . import path_policy

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Callable, Dict, Type, TypeVar

    Call = TypeVar("Call", bound=Callable[..., Any])


def raises(error: Type[Exception], of_an_argument: Type[Exception]) -> Callable[[Call], Call]:
    """A decorator: what the core raises leaves the call as `error` (as `of_an_argument` for Misuse), with its message.

    A refusal is noted in the audit log.
    """

    def decorate(call: Call) -> Call:
        @functools.wraps(call)
        def translated(*arguments: Any, **named: Any) -> Any:
            try:
                return call(*arguments, **named)
            except BatchError as reason:
                if isinstance(reason, (RefusedError, path_policy.PathRefused)):
                    path_policy.tell_refusal(call.__name__, reason)
                raise (of_an_argument if isinstance(reason, UsageError) else error)(reason.message) from reason
            except OSError as reason:
                raise error(atomic_files.io_error("The batch state cannot be used", reason).message) from reason

        return translated  # type: ignore[return-value]

    return decorate


def method(calls: Dict[str, Any], name: str, on: Callable[[Any], Any]) -> Any:
    """A method that makes the call of this name on `on(self)`; the call is looked up in `calls` each time."""

    @functools.wraps(calls[name])
    def called(self: Any, *given: Any, **named: Any) -> Any:
        return calls[name](on(self), *given, **named)

    return called


def deprecated(call: Call) -> Call:
    """Decorate a call that is kept for older scripts: it warns, and points at its caller."""

    @functools.wraps(call)
    def warned(*arguments: Any, **named: Any) -> Any:
        warnings.warn(
            f"{call.__name__} is deprecated and no longer needed: Claude Code does the automatic compression of its "
            "context by itself.",
            DeprecationWarning,
            stacklevel=2,
        )
        return call(*arguments, **named)

    return warned  # type: ignore[return-value]
