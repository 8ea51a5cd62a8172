"""The sidecar: plain text lines that name the current version of the state, so that a hook need not parse the state.

    live                         or `over` when hooks have nothing to do: the only line that hooks/run reads
    new FINGERPRINT              the version that the last write put in place, or `new -` when the batch is archived
    old FINGERPRINT              the version before it, or `old -`
    owner SESSION PID            the lease, with `-` for what is unknown
    open INDEX ATTEMPT PHASE     the open feature, or `open -`
    unattended 0|1
    remind CONTEXT ...           contexts that need a reminder
    check NUMBER                 a checksum of the lines above

A FINGERPRINT is `INODE SIZE MTIME_NS SHA256 REVISION`. Its revision is 0 for a file that the store did not write: an
edit or old file that a write takes over.

It is written durably before the state is replaced. A rename keeps the inode, so the file in place always matches `new`
or `old`; a file that matches neither was not written by the store. The copies of the state (see `backups`) have the
time of change of the version that they hold, so that one stat shows whether somebody else wrote to them.
"""

import errno
import posix  # this runs at every tool call, where importing `os` costs too much: see fast_path

TYPE_CHECKING = False
if TYPE_CHECKING:
    import os
    from typing import Optional

    from ..core.batch_state import State

MAX_BYTES = 65536
_FLAGS = posix.O_RDONLY | posix.O_NOFOLLOW | posix.O_NONBLOCK | posix.O_CLOEXEC
TEMP_NAME = "sidecar.tmp"
READABLE_COPY, BACKUP = "current.json", "in-force.bi"
SECOND_BACKUP_MTIME_NS = 946684800 * 10**9  # 2000-01-01: see `backups`
_NOT_A_FILE_ERRORS = frozenset((errno.ENOENT, errno.ENOTDIR, errno.ELOOP, errno.ENXIO, errno.EISDIR))


class Fingerprint:
    """The identity of one written version: its file on the disk and its content."""

    __slots__ = ("inode", "mtime_ns", "revision", "sha256", "size")

    def __init__(self, inode: int, size: int, mtime_ns: int, sha256: str, revision: int) -> None:
        self.inode, self.size, self.mtime_ns, self.sha256, self.revision = inode, size, mtime_ns, sha256, revision

    def matches(self, status: "os.stat_result") -> bool:
        """Return whether a file with this status is that version, as far as a stat can tell."""
        return status.st_ino == self.inode and status.st_size == self.size and status.st_mtime_ns == self.mtime_ns

    def __str__(self) -> str:
        return f"{self.inode} {self.size} {self.mtime_ns} {self.sha256} {self.revision}"


class Sidecar:
    """The content of a sidecar. For `-` in the text `new`, `old` and `owner_pid` are None and `session` is empty."""

    __slots__ = ("live", "new", "old", "open", "open_index", "owner_pid", "phase", "remind", "session", "unattended")

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
        phase: str = "",
        open_index: "Optional[int]" = None,
    ) -> None:
        self.live, self.new, self.old, self.session, self.owner_pid = live, new, old, session, owner_pid
        self.open, self.unattended, self.remind, self.phase = open, unattended, remind, phase
        self.open_index = open_index

    def match(self, status: "os.stat_result") -> "Optional[Fingerprint]":
        """Return the version that a file with this status is, or None, also for a file that `is_adopting`."""
        for fingerprint in (self.new, self.old):
            if fingerprint is not None and fingerprint.revision and fingerprint.matches(status):
                return fingerprint
        return None

    def is_adopting(self, status: "os.stat_result") -> bool:
        """Return whether a file with this status is an edit whose adoption was begun: an `old` of revision 0."""
        return self.old is not None and not self.old.revision and self.old.matches(status)

    def matches_path(self, path: str) -> bool:
        """Return whether the file at `path` is a known version, or rightly missing, by one stat."""
        if self.new is None:
            return True
        try:
            return self.match(posix.lstat(path)) is not None
        except OSError:
            return not self.live

    def matches_disk(self, state_path: str, private: str, second_backup: str) -> bool:
        """Return whether state and copies are what the store wrote, by four stats: enough for most hooks."""
        return self.matches_path(state_path) and (
            self.new is None or matches_copies((self.new, self.old), private, second_backup)
        )

    def is_owner(self, session_id: str, pid: str) -> bool:
        """Return whether the client with this session and process id (a text) owns the batch."""
        return bool(session_id) and self.session == session_id and str(self.owner_pid) == pid


def matches_copies(versions: "tuple[Optional[Fingerprint], ...]", private: str, second_backup: str) -> bool:
    """Return whether each copy of the state holds one of these versions, as far as a stat can tell."""
    try:
        if posix.lstat(second_backup).st_mtime_ns != SECOND_BACKUP_MTIME_NS:
            return False
        readable, backup = posix.lstat(f"{private}/{READABLE_COPY}"), posix.lstat(f"{private}/{BACKUP}")
    except OSError:
        return False
    known = [each for each in versions if each is not None]
    return any(
        (readable.st_mtime_ns, readable.st_size) == (each.mtime_ns, each.size) for each in known
    ) and backup.st_mtime_ns in [each.mtime_ns for each in known]


def render(
    state: "Optional[State]", live: bool, new: "Optional[Fingerprint]", old: "Optional[Fingerprint]", remind: list[str]
) -> bytes:
    """Return the text of the sidecar for a write of `state`, or None for an archived one. Leaves out invalid names."""
    owner = (state["owner"] if state else None) or {"session_id": "", "pid": None}
    active = state["active"] if state else None
    lines = [
        "live" if live else "over",
        f"new {new or '-'}",
        f"old {old or '-'}",
        f"owner {owner['session_id'] if is_storable_session_id(owner['session_id']) else '-'} {owner['pid'] or '-'}",
        f"open {active['feature_index']} {active['attempt']} {active['phase']}" if active else "open -",
        f"unattended {int(bool(state and state['policy']['unattended']))}",
        " ".join(["remind", *filter(is_storable_session_id, remind)]),
    ]
    return add_check(("\n".join(lines) + "\n").encode())


def add_check(lines: bytes) -> bytes:
    """Return the lines with the one that has their checksum."""
    return lines + b"check %d\n" % (int.from_bytes(lines, "big") % (2**61 - 1))  # cheaper than to import `zlib`


def parse(text: bytes) -> "Optional[Sidecar]":
    """Return the sidecar with this text, or None when the text is not a sidecar or was changed."""
    try:
        if text != add_check(text[: text.rindex(b"check ")]):
            return None
        lines = text.decode("ascii").split("\n")
        fields = [line.split(" ") for line in lines[1:7]]
        if lines[0] not in ("live", "over") or [field[0] for field in fields] != _FIELD_NAMES:
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
            fields[3][3] if len(fields[3]) > 3 else "",
            None if fields[3][1] == "-" else int(fields[3][1]),
        )
    except (ValueError, IndexError):
        return None


def read_sidecar(private: str) -> "Optional[Sidecar]":
    """Return the sidecar in the private folder `private`, or None if missing or invalid. Errors as `read_text`."""
    text = read_text(private)
    return None if text is None else parse(text)


def read_text(private: str) -> "Optional[bytes]":
    """Return the text of the sidecar in the private folder `private`, or None when there is no file.

    Raises StateError when it cannot be read: without it, any file would count as a valid edit.
    """
    descriptor = -1
    try:
        descriptor = posix.open(f"{private}/sidecar", _FLAGS)
        text = b""
        while len(text) < MAX_BYTES:
            part = posix.read(descriptor, MAX_BYTES - len(text))
            if not part:
                break
            text += part
        return text
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
    """Return whether a sidecar can hold a session id: 1 to 200 printable ASCII characters without blanks."""
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
