"""Write the output of a command to a file that does not grow without limit: its head and its tail.

    with BoundedOutput(file) as output:
        subprocesses.run(arguments, timeout_s=60, on_output=output.write, errors=subprocess.STDOUT)

The head is written as it comes, the tail when the block ends, after a line that names how much is left out. What a
full disk refuses is left out too: the exit status of the command counts, not its output.
"""

from __future__ import annotations

import contextlib

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import IO

HALF_BYTES = 5_000_000  # of the head, and of the tail


class BoundedOutput:
    """Writes at most 2 * HALF_BYTES bytes and one line to a binary file, which it does not close."""

    def __init__(self, file: IO[bytes], half_bytes: int = HALF_BYTES) -> None:
        self.file, self.half_bytes = file, half_bytes
        self.head_room, self.dropped = half_bytes, 0
        self.tail = bytearray()

    def __enter__(self) -> BoundedOutput:
        return self

    def __exit__(self, *_: object) -> None:
        excess = max(0, len(self.tail) - self.half_bytes)
        self.dropped += excess
        line = f"\n[batch-implement: {self.dropped} bytes are left out here]\n".encode() if self.dropped else b""
        self._write_to_file(line + bytes(self.tail[excess:]))

    def write(self, data: bytes) -> None:
        """Take the next piece of the output."""
        head, rest = data[: self.head_room], data[self.head_room :]
        if head:
            self.head_room -= len(head)
            self._write_to_file(head)
        self.tail += rest
        if len(self.tail) > 2 * self.half_bytes:  # not at every piece: each cut moves the whole tail
            excess = len(self.tail) - self.half_bytes
            self.dropped += excess
            del self.tail[:excess]

    def _write_to_file(self, data: bytes) -> None:
        with contextlib.suppress(OSError):
            self.file.write(data)
            self.file.flush()
