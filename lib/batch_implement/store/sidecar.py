"""The sidecar: plain text lines that name the current version of the state, so that a hook need not parse the state.

    live                         or `over`, when hooks have nothing to do: all that the guard in hooks/run reads
    new IDENTITY                 the version that the last write put in place, or `new -` for a batch that was put away
    old IDENTITY                 the one before it, or `old -`
    owner SESSION PID            the lease, `-` for each that there is none of
    open INDEX ATTEMPT           the open feature, or `open -`
    unattended 0|1
    remind CONTEXT ...           windows that are owed a reminder

An IDENTITY is `INODE SIZE MTIME_NS SHA256 REVISION`; the revision is 0 for a file that is not ours yet: the edit, or
old file, that a write takes over.

It is written, durably, before the state is replaced. A rename keeps the inode, so at every moment the file in place
is the `new` or the `old` one of the sidecar, and what is neither was not written by us. Only the store writes it.
"""

import errno
import posix  # on the way of every tool call, where `os` is too dear: see glance.py

TYPE_CHECKING = False
if TYPE_CHECKING:
    import os
    from typing import Optional

    from ..core.batch_state import State

MAX_BYTES = 65536
_FLAGS = posix.O_RDONLY | posix.O_NOFOLLOW | posix.O_NONBLOCK | posix.O_CLOEXEC
TEMP_NAME = "sidecar.tmp"
_NOT_A_FILE_ERRORS = frozenset((errno.ENOENT, errno.ENOTDIR, errno.ELOOP, errno.ENXIO, errno.EISDIR))


class Fingerprint:
    """What tells one written version from every other: where it lies on the disk, and its content."""

    __slots__ = ("inode", "mtime_ns", "revision", "sha256", "size")

    def __init__(self, inode: int, size: int, mtime_ns: int, sha256: str, revision: int) -> None:
        self.inode, self.size, self.mtime_ns, self.sha256, self.revision = inode, size, mtime_ns, sha256, revision

    def matches(self, status: "os.stat_result") -> bool:
        """Whether the file with this status is that version, by all that a stat can tell."""
        return status.st_ino == self.inode and status.st_size == self.size and status.st_mtime_ns == self.mtime_ns

    def __str__(self) -> str:
        return f"{self.inode} {self.size} {self.mtime_ns} {self.sha256} {self.revision}"


class Sidecar:
    """A sidecar's content. `new` and `old` are None where the text has `-`, and `owner_pid`; `session` is then ""."""

    __slots__ = ("live", "new", "old", "open", "owner_pid", "remind", "session", "unattended")

    def __init__(
        self,
        live: bool,
        new: "Optional[Fingerprint]",
        old: "Optional[Fingerprint]",
        session: str = "",
        owner_pid: "Optional[int]" = None,
        open: bool = False,
        unattended: bool = False,
        remind: tuple[str, ...] = (),
    ) -> None:
        self.live, self.new, self.old, self.session, self.owner_pid = live, new, old, session, owner_pid
        self.open, self.unattended, self.remind = open, unattended, remind

    def match(self, status: "os.stat_result") -> "Optional[Fingerprint]":
        """The sealed version that the file with this status is; None for a foreign one, also one that `is_adopting`."""
        for identity in (self.new, self.old):
            if identity is not None and identity.revision and identity.matches(status):
                return identity
        return None

    def is_adopting(self, status: "os.stat_result") -> bool:
        """Whether the file with this status is a foreign one whose adoption was begun: an `old` of revision 0."""
        return self.old is not None and not self.old.revision and self.old.matches(status)

    def matches_path(self, path: str) -> bool:
        """Whether the file at `path` is a sealed version, or rightly absent, by one stat: enough for most hooks."""
        if self.new is None:
            return True
        try:
            return self.match(posix.lstat(path)) is not None
        except OSError:
            return not self.live

    def is_owner(self, session_id: str, pid: str) -> bool:
        """Whether the client with this session and process id (as text) holds the lease."""
        return bool(session_id) and self.session == session_id and str(self.owner_pid) == pid


def render(
    state: "Optional[State]", live: bool, new: "Optional[Fingerprint]", old: "Optional[Fingerprint]", remind: list[str]
) -> bytes:
    """The sidecar's text for a write of `state` (None when it is put away). A name that does not fit is left out."""
    owner = (state["owner"] if state else None) or {"session_id": "", "pid": None}
    active = state["active"] if state else None
    lines = [
        "live" if live else "over",
        f"new {new or '-'}",
        f"old {old or '-'}",
        f"owner {owner['session_id'] if is_storable_session_id(owner['session_id']) else '-'} {owner['pid'] or '-'}",
        f"open {active['feature_index']} {active['attempt']}" if active else "open -",
        f"unattended {int(bool(state and state['policy']['unattended']))}",
        " ".join(["remind", *filter(is_storable_session_id, remind)]),
    ]
    return ("\n".join(lines) + "\n").encode()


def parse(text: bytes) -> "Optional[Sidecar]":
    """The sidecar with this text; None when it is not one."""
    try:
        lines = text.decode("ascii").split("\n")
        fields = [line.split(" ") for line in lines[1:7]]
        if lines[0] not in ("live", "over") or [field[0] for field in fields] != _FIELD_NAMES or lines[-1]:
            return None
        session, pid = fields[2][1:]
        return Sidecar(
            lines[0] == "live",
            _parse_fingerprint(fields[0]),
            _parse_fingerprint(fields[1]),
            "" if session == "-" else session,
            None if pid == "-" else int(pid),
            fields[3][1] != "-",
            fields[4][1] == "1",
            tuple(fields[5][1:]),
        )
    except (ValueError, IndexError):
        return None


def read_sidecar(private: str) -> "Optional[Sidecar]":
    """The sidecar in the private folder at this path; None when there is none or it is not one. Errors as `text`."""
    found = read_text(private)
    return None if found is None else parse(found)


def read_text(private: str) -> "Optional[bytes]":
    """What stands in the sidecar of the private folder at this path, None when there is no file.

    StateUnusable when it cannot be read: to go on as if there were none would take any file for a valid edit.
    """
    descriptor = -1
    try:
        descriptor = posix.open(f"{private}/sidecar", _FLAGS)
        found = b""
        while len(found) < MAX_BYTES:
            part = posix.read(descriptor, MAX_BYTES - len(found))
            if not part:
                break
            found += part
        return found
    except OSError as error:
        if error.errno in _NOT_A_FILE_ERRORS:
            return None
        from ..core.errors import StateError

        raise StateError(
            f"{private}/sidecar cannot be read: {error.strerror}. Nothing was changed. Check its owner and the disk.",
            "disk-trouble",
        ) from error
    finally:
        if descriptor >= 0:
            try:
                posix.close(descriptor)
            except OSError:
                pass  # nothing was written through it


def is_storable_session_id(session_id: str) -> bool:
    """Whether a session id can stand in a sidecar: 1 to 200 printable ASCII characters without blanks."""
    return (
        0 < len(session_id) <= 200
        and session_id != "-"
        and session_id.isascii()
        and all(33 <= ord(char) < 127 for char in session_id)
    )


_FIELD_NAMES = ["new", "old", "owner", "open", "unattended", "remind"]


def _parse_fingerprint(fields: list[str]) -> "Optional[Fingerprint]":
    if fields[1] == "-":
        return None
    inode, size, mtime_ns, sha256, revision = fields[1:]
    return Fingerprint(int(inode), int(size), int(mtime_ns), sha256, int(revision))
