"""A scratch git project for each case, with files outside of it that must stay untouched.

    project = ScratchProject(folder)
    project.set_up(condition, sealed=True)      # with a batch in that condition
    project.put(".claude/batch_state.json", b"...") or project.put_special(name, "a FIFO")
    before = project.snapshot()
    project.find_problems(before, output)       # messages: what was deleted, changed or printed that must not be

The text SECRET exists only outside of the project. It must never appear in the project or in the output.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import socket
import stat
import subprocess
from pathlib import Path
from typing import Any, NamedTuple, Optional

from batch_implement.core import batch_state, lease, transitions
from batch_implement.store import atomic_files, backups, serialization, sidecar
from batches import NOW, all_completed, completed, failed, new_batch, owner, started

SECRET = "the-secret-outside"
STATE = ".claude/batch_state.json"
PRIVATE = ".git/batch-implement"
SECOND_BACKUP = ".git/implement.bi"
SESSION = "s-1"
FEATURE_LIST = "Add a page\nTest it (after: 1)\nTell of it\n"
GITCONFIG = "[user]\n\tname = Scratch\n\temail = scratch@example.invalid\n[init]\n\tdefaultBranch = main\n"
REPLACEABLE = (
    "sidecar",
    "sidecar.tmp",
    "lock",
    "current.json",
    "in-force.bi",
    "reported-errors",
)  # ours, made new as needed
SPECIAL_FILES = (
    "a link", "a dangling link", "a link to itself", "a link to a device", "a link to a FIFO", "a FIFO", "a folder",
    "a full folder", "a socket",
    "a hard link", "a sparse file", "an unreadable file", "a device",
)  # fmt: skip


def _make_batches() -> dict[str, dict[str, Any]]:
    """Return states in all conditions of a batch, each owned by the session of this process."""
    held: dict[str, Any] = {"owner": owner(SESSION)}
    fresh = lease.record_prompt(new_batch(3, needs={1: [0]}, **held), "p")
    going = started(fresh)
    many = completed(fresh)
    many = failed(many, words="it broke: $(touch pwned)")
    many = started(many)
    many = transitions.record_git_operation(many, 0, "push", {"success": True, "timestamp": NOW, "branch": "main"})
    many = lease.record_compaction(many, NOW, "main", 90_000)
    return {
        "fresh": fresh,
        "going": going,
        "many": many,
        "alone": new_batch(3, unattended=True, **held),
        "paused": transitions.pause(going, NOW, "lunch"),
        "over": all_completed(fresh),
        "nobody's": new_batch(["é😀 one", "two"], verify="false"),
    }


class Entry(NamedTuple):
    """One file: its type, its content or link target, its inode."""

    kind: int
    data: bytes
    inode: int


class ScratchProject:
    """A folder with `project/` (a git repository), `outside/` and `home/` in it."""

    def __init__(self, folder: str) -> None:
        self.folder, self.root, self.outside = folder, f"{folder}/project", f"{folder}/outside"
        for name in (self.root, self.outside, f"{folder}/home", f"{folder}/bin", f"{self.outside}/folder"):
            os.makedirs(name)
        Path(folder, "home", ".gitconfig").write_text(GITCONFIG)
        os.symlink(shutil.which("git") or "/usr/bin/git", f"{folder}/bin/git")
        self.environment = {
            "PATH": f"{folder}/bin",
            "HOME": f"{folder}/home",
            "GIT_CONFIG_NOSYSTEM": "1",
            "LC_ALL": "C.UTF-8",
        }
        self.batches_by_condition = _make_batches()
        secret = {**self.batches_by_condition["nobody's"], "features": [f"{SECRET} one", f"{SECRET} two"]}
        Path(self.outside, "state.json").write_bytes(serialization.serialize(secret))
        Path(self.outside, "list.txt").write_text(f"{SECRET} one\n{SECRET} two\n")
        os.mkfifo(f"{self.outside}/fifo")
        Path(self.root, "features.txt").write_text(FEATURE_LIST)
        Path(self.root, "README.md").write_text("# scratch\n")
        for words in (["init", "-q", "--template="], ["add", "."], ["commit", "-qm", "start"]):
            subprocess.run(["git", *words], cwd=self.root, env=self.environment, check=True)
        Path(self.root, "notes.txt").write_text("a person's own, not committed\n")
        os.makedirs(f"{self.root}/.git/info", exist_ok=True)
        shutil.copytree(self.root, f"{folder}/pristine", symlinks=True)
        self.outside_before = self._scan(self.outside)
        self.written: set[str] = set()

    def set_up(self, shape: Optional[str], *, sealed: bool, whole: bool = False) -> None:
        """Set up the project with a batch in this condition, None for none. `whole`: renew git's own files too."""
        os.chmod(self.root, 0o700)
        if whole:
            shutil.rmtree(self.root)
            shutil.copytree(f"{self.folder}/pristine", self.root, symlinks=True)
        for name in (".claude", PRIVATE, SECOND_BACKUP, *self.written):  # a case may leave a backup of its own batch
            self._remove(f"{self.root}/{name}")
        self.written.clear()
        if shape is None:
            return
        state = {**self.batches_by_condition[shape], "state_file": f"{self.root}/{STATE}"}
        data = serialization.serialize(state)
        self.put(STATE, data)
        if not sealed:
            return
        identity = atomic_files.fingerprint_of(
            os.stat(f"{self.root}/{STATE}"), atomic_files.sha256(data), state["revision"]
        )
        text = sidecar.render(
            state, batch_state.needs_hooks(state), identity, None, batch_state.contexts_to_remind(state)
        )
        self.put(f"{PRIVATE}/sidecar", text)
        self.put(f"{PRIVATE}/current.json", data)
        for name in (f"{PRIVATE}/in-force.bi", SECOND_BACKUP):
            self.put(name, backups.pack(text, data)[0])
        self.put(f"{PRIVATE}/lock", b"1 batchctl\n")
        self.put(
            f"{PRIVATE}/audit.jsonl",
            b'{"at": "2026-01-31T23:59:59Z", "event": "created", "batch_id": "batch-1", "features": 3}\n',
        )
        self.put(f"{PRIVATE}/archive/batch-0.json", data)

    def place(self, name: str) -> str:
        """Return the path of a name in the project, after removing what is there and creating its folders."""
        path = f"{self.root}/{name}"
        if not name.startswith((".claude/", PRIVATE)):
            self.written.add(name)
        self._remove(path)
        os.makedirs(os.path.dirname(path), mode=0o700, exist_ok=True)
        return path

    def put(self, name: str, data: bytes) -> None:
        """Write a file in the project."""
        descriptor = os.open(self.place(name), os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        try:
            while data:
                data = data[os.write(descriptor, data) :]
        finally:
            os.close(descriptor)

    def put_special(self, name: str, thing: str, size: int = 400 << 20) -> None:
        """Create a special file in the project (see SPECIAL_FILES)."""
        path, target = self.place(name), f"{self.outside}/{'list.txt' if name.endswith('.txt') else 'state.json'}"
        if thing == "a link":
            os.symlink(
                f"{self.outside}/folder" if "." not in os.path.basename(name)[1:] and "sidecar" not in name else target,
                path,
            )
        elif thing == "a dangling link":
            os.symlink(f"{self.outside}/nothing", path)
        elif thing == "a link to itself":
            os.symlink(path, path)
        elif thing == "a link to a device":
            os.symlink("/dev/zero", path)
        elif thing == "a link to a FIFO":
            os.symlink(f"{self.outside}/fifo", path)
        elif thing == "a FIFO":
            os.mkfifo(path)
        elif thing in ("a folder", "a full folder"):
            os.mkdir(path)
            if thing == "a full folder":
                Path(path, "precious").write_text("words")
        elif thing == "a socket":
            here = os.open(os.path.dirname(path), os.O_RDONLY)
            bound = socket.socket(socket.AF_UNIX)
            try:
                bound.bind(f"/proc/self/fd/{here}/{os.path.basename(path)}")  # a socket's path has to be short
            finally:
                bound.close()
                os.close(here)
        elif thing == "a hard link":
            os.link(target, path)
        elif thing == "a sparse file":
            with open(path, "wb") as file:
                file.truncate(size)
        elif thing == "a device" and os.geteuid() == 0:
            try:
                os.mknod(path, stat.S_IFCHR | 0o600, os.makedev(1, 5))  # zeros without end
            except OSError:
                os.symlink("/dev/zero", path)
        else:
            Path(path).write_bytes(b"{}")
            os.chmod(path, 0)

    def snapshot(self) -> dict[str, Entry]:
        """Return all files in the project except git's own."""
        return self._scan(self.root)

    def _scan(self, top: str) -> dict[str, Entry]:
        found: dict[str, Entry] = {}
        folders = [""]
        while folders:
            within = folders.pop()
            try:
                entries = list(os.scandir(f"{top}/{within}"))
            except (PermissionError, NotADirectoryError):
                continue
            for entry in entries:
                name = f"{within}{entry.name}"
                if within == ".git/" and entry.name != "batch-implement":
                    continue
                status = entry.stat(follow_symlinks=False)
                data = b""
                if stat.S_ISLNK(status.st_mode):
                    data = os.fsencode(os.readlink(entry.path))
                elif stat.S_ISREG(status.st_mode) and status.st_size < 40 << 20:
                    data = self._read(entry.path)
                elif stat.S_ISDIR(status.st_mode):
                    folders.append(f"{name}/")
                found[name] = Entry(stat.S_IFMT(status.st_mode), data, status.st_ino)
        return found

    @staticmethod
    def _read(path: str) -> bytes:
        try:
            with open(path, "rb", buffering=0) as file:
                return file.read()
        except PermissionError:
            return b""

    def find_problems(self, before: dict[str, Entry], said: Optional[str], *, swapped: bool = False) -> list[str]:
        """Return what a case broke. `said` is its output, None where the case itself names files outside."""
        after = self.snapshot()
        wrong = [] if self._scan(self.outside) == self.outside_before else ["outside: something there is not as it was"]
        if said is not None and SECRET in said:
            wrong.append("outside: what stands there was told")
        contents = {entry.data for entry in after.values()}
        wrong += [
            f"outside: what stands there is now in {name}"
            for name, entry in after.items()
            if said is not None
            and SECRET.encode() in entry.data
            and entry not in before.values()
            and before.get(name) != entry
        ]
        inodes = {entry.inode for entry in after.values()}
        for name, entry in before.items():
            if swapped and name.startswith(STATE):
                continue  # whoever swaps took it away
            if after.get(name) == entry or (entry.kind == stat.S_IFDIR and name in after):
                continue
            is_ours = name.startswith(f"{PRIVATE}/") and os.path.basename(name) in REPLACEABLE
            if (is_ours or name == SECOND_BACKUP) and entry.kind != stat.S_IFDIR:
                continue
            if name.endswith(".tmp") and name.startswith(".claude/"):
                continue  # what a crash leaves, swept by the next write
            now = after.get(name)
            if name.endswith("audit.jsonl") and now and now.data.startswith(entry.data):
                continue
            if entry.kind == stat.S_IFREG:
                if entry.data in contents or self._is_superseded(name, entry.data, after):
                    continue
            elif entry.inode in inodes:
                continue
            if self._is_in_git(entry.data):
                continue  # left over from an attempt: in a snapshot
            wrong.append(f"deleted: {name} ({len(entry.data)} bytes) is nowhere any more")
        return wrong

    def _is_superseded(self, name: str, data: bytes, after: dict[str, Entry]) -> bool:
        """Return whether a replaced state was valid and is followed by one with the same features."""
        if name != STATE:
            return False
        try:
            state = serialization.parse_valid_state(data)[0]
        except Exception:
            return False  # it was none: then its bytes must be somewhere
        for place in (STATE, *(name for name in after if "/archive/" in name)):
            try:
                if serialization.parse(after[place].data)["features"][: len(state["features"])] == state["features"]:
                    return True
            except Exception:
                continue
        return False

    def _is_in_git(self, data: bytes) -> bool:
        name = hashlib.sha1(b"blob %d\0" % len(data) + data).hexdigest()  # as git names it
        return os.path.exists(f"{self.root}/.git/objects/{name[:2]}/{name[2:]}")

    @staticmethod
    def _remove(path: str) -> None:
        try:
            status = os.lstat(path)
        except OSError:
            return
        if stat.S_ISDIR(status.st_mode):
            shutil.rmtree(path)
        else:
            os.unlink(path)


def to_json(payload: Any) -> bytes:
    """Return a payload as the client writes it."""
    return json.dumps(payload).encode()
