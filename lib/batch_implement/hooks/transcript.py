"""Read the client's transcript: the size of the context window, and what arrived since the last compaction.

The transcript is JSON lines, written about 100 ms late (more on a busy machine). Only its end is read; what is not
found there counts as 0 or False.
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
    """Return the tokens in the context window by the usage of its last answer; 0 if unknown."""
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
    """Return a number of tokens; 0 for anything else."""
    return value if type(value) is int and 0 <= value < MAX_TOKENS else 0


def has_context_since_compaction(path: str, mark: str) -> bool:
    """Return whether a hook's context that contains `mark` follows the last compaction."""
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
    """Return whether the transcript contains the answer that made this tool call."""
    needle = tool_use_id.encode("utf-8", "surrogatepass")
    return any(needle in line and b'"assistant"' in line for line in _read_lines_backwards(path))


def _parse_entry(line: bytes) -> dict[str, Any]:
    try:
        data = fast_json.loads(line)
    except (ValueError, RecursionError):
        return {}
    return data if isinstance(data, dict) else {}


def _read_lines_backwards(path: str) -> Iterator[bytes]:
    """Yield the lines at the end of the file, last first."""
    rest = b""
    try:
        with open(os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOCTTY), "rb") as file:
            status = os.fstat(file.fileno())
            end = size = status.st_size if stat.S_ISREG(status.st_mode) else 0
            for tail_bytes in (min(NEAR_BYTES, TAIL_BYTES), TAIL_BYTES):  # mostly the near end is enough
                start = max(0, size - tail_bytes)
                file.seek(start)
                rest, *lines = (file.read(end - start) + rest).split(b"\n")
                yield from reversed(lines)
                end = start
    except (OSError, ValueError):
        return
    yield rest
