"""What the client's transcript of a conversation shows: the size of its window, and whether a text arrived since the
last compaction.

The transcript is JSON lines, written about 100 ms behind (more on a busy machine); only its end is read. What is not
found there is answered with 0 or False.
"""

from __future__ import annotations

import os
import stat

from ..base import fast_json

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Iterator

TAIL_BYTES = 1 << 20
NEAR_BYTES = 1 << 16
MAX_TOKENS = 10**9
USAGE_FIELDS = ("input_tokens", "cache_creation_input_tokens", "cache_read_input_tokens", "output_tokens")


def read_context_tokens(path: str) -> int:
    """Tokens in the conversation's window, by the usage of its last answer; 0 when that cannot be told."""
    for line in _read_lines_backwards(path):
        if b'"compact_boundary"' in line:
            entry = _parse_entry(line)
            if entry.get("subtype") == "compact_boundary":
                metadata = entry.get("compactMetadata")
                return _check_token_count(metadata.get("postTokens")) if isinstance(metadata, dict) else 0
        if b'"usage"' not in line or b'"assistant"' not in line:
            continue
        entry = _parse_entry(line)
        message = entry.get("message")
        usage = message.get("usage") if isinstance(message, dict) else None
        if entry.get("type") == "assistant" and not entry.get("isApiErrorMessage") and isinstance(usage, dict):
            return sum(_check_token_count(usage.get(name)) for name in USAGE_FIELDS)
    return 0


def _check_token_count(value: object) -> int:
    """A number of tokens; 0 for what cannot be one."""
    return value if type(value) is int and 0 <= value < MAX_TOKENS else 0


def has_context_since_compaction(path: str, mark: str) -> bool:
    """Whether a hook's context that contains `mark` stands behind the last compaction."""
    needle = mark.encode()
    for line in _read_lines_backwards(path):
        if needle in line and b'"hook_additional_context"' in line:
            attachment = _parse_entry(line).get("attachment")
            if isinstance(attachment, dict) and attachment.get("type") == "hook_additional_context":
                return True
        if b'"compact_boundary"' in line and _parse_entry(line).get("subtype") == "compact_boundary":
            return False
    return False


def has_tool_call(path: str, tool_use_id: str) -> bool:
    """Whether the transcript is written as far as the answer that made this tool call."""
    needle = tool_use_id.encode("utf-8", "surrogatepass")
    return any(needle in line and b'"assistant"' in line for line in _read_lines_backwards(path))


def _parse_entry(line: bytes) -> dict[str, Any]:
    try:
        data = fast_json.loads(line)
    except (ValueError, RecursionError):
        return {}
    return data if isinstance(data, dict) else {}


def _read_lines_backwards(path: str) -> Iterator[bytes]:
    """The lines at the end of the file, last first. What is asked for mostly stands near it: that is read first."""
    rest = b""
    try:
        with open(os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOCTTY), "rb") as file:
            status = os.fstat(file.fileno())
            end = size = status.st_size if stat.S_ISREG(status.st_mode) else 0
            for most in (min(NEAR_BYTES, TAIL_BYTES), TAIL_BYTES):
                start = max(0, size - most)
                file.seek(start)
                rest, *lines = (file.read(end - start) + rest).split(b"\n")
                yield from reversed(lines)
                end = start
    except (OSError, ValueError):
        return
    yield rest
