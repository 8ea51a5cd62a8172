"""One transaction on the state: its folders open, under the lock, for the length of a `with`.

    with Transaction(project, notes, by_model=False, timeout_s=10.0) as at:
        current = at.settle()                       # the version in force; None when there is no batch
        at.write(transitions.x(current.state), current)

A version is replaced whole or not at all: temp file, fsync, seal, rename, fsync of the folder (docs/durability.md).
What happens to a file that is not the one the seal knows (`settle`):

    same content elsewhere (copied, restored)   sealed again
    changed by the model (`by_model`)           to quarantine/, the version in force comes back
    changed by anybody else, valid              adopted: one revision more
    changed by anybody else, not valid          to quarantine/, the version in force comes back; with none to come back
                                                it stays, StateUnusable
    gone, by the model                          the version in force comes back
    gone, by anybody else                       the batch is withdrawn: put away into history/

Nothing is deleted. `notes` collects what a person or model should be told, a sentence each.
"""

from __future__ import annotations

import errno
import os
import time

from . import audit, clock, codec, disk, lock, model, paths, seal, story
from .errors import NotConfirmed, Refused, StateUnusable

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import TracebackType
    from typing import Any, List, Optional

    from .model import State
    from .paths import Project
    from .seal import Identity, Seal

CURRENT, PREVIOUS = "current.json", "previous.json"
_NO_SEAL = seal.Seal(False, None, None)


class Version:
    """One version read from the disk."""

    __slots__ = ("identity", "state")

    def __init__(self, state: State, identity: Identity) -> None:
        self.state, self.identity = state, identity


class Transaction:
    """The folders of a store, open, under its lock, for the length of a `with`."""

    def __init__(
        self, project: Project, notes: List[str], *, by_model: bool, timeout_s: float, create: bool = False
    ) -> None:
        self.project, self.notes, self.by_model = project, notes, by_model
        self.put_back = ""  # what was found damaged and replaced by the version in force, a sentence; mostly nothing
        self._timeout_s, self._create = timeout_s, create
        self._folder = -1

    def __enter__(self) -> Transaction:
        project = self.project
        try:
            if not project.git_dir:
                os.close(project.open_state_folder(create=self._create))
            missing = not self._create and seal.read(project.private) is None and not os.path.lexists(project.state)
            if missing:
                raise FileNotFoundError
            self._private = paths.open_folder(project.private_parent, project.private_name, create=True)
        except FileNotFoundError as error:
            raise no_batch(project) from error
        except OSError as error:
            raise disk.trouble(f"{project.private} cannot be used", error) from error
        self._lock = lock.held(self._private, project.private, self._timeout_s)
        try:
            self._lock.__enter__()
        except BaseException:
            os.close(self._private)
            raise
        return self

    def __exit__(
        self, kind: Optional[type[BaseException]], error: Optional[BaseException], trace: Optional[TracebackType]
    ) -> None:
        self._lock.__exit__(kind, error, trace)
        os.close(self._private)
        if self._folder >= 0:
            os.close(self._folder)
        if audit.trouble:
            trouble = f"Note: {audit.trouble}. The batch itself is not affected."
            if trouble not in self.notes:
                self.notes.append(trouble)
            audit.trouble = ""

    def folder(self) -> int:
        """A descriptor of the folder that holds the state file; it is made when it is missing."""
        if self._folder < 0:
            self._folder = self.project.open_state_folder(create=True)
        return self._folder

    def note(self, event: str, text: str, **details: Any) -> None:
        """Tell whoever called, and the audit log."""
        self.notes.append(text)
        audit.record(self.project.log_folder, event, text=text, **details)

    # -- what is there -------------------------------------------------------------------------------------------

    def settle(self) -> Optional[Version]:
        """The version in force, once everything foreign was dealt with."""
        try:
            return self._settled()
        except OSError as error:
            raise disk.trouble(f"What was done to {self.project.state} cannot be mended", error) from error

    def _settled(self) -> Optional[Version]:
        sealed = seal.read(self.project.private)
        try:
            found = self._found()
        except disk.Foreign as thing:
            return self._put_back(sealed, str(thing))
        if found is None:
            if sealed is None or not sealed.live or sealed.new is None:
                return None
            if self.by_model:
                return self._put_back(sealed, "gone")
            self._withdraw(sealed)
            return None
        status, data = found
        digest = disk.sha256(data)
        if sealed is not None:
            known = sealed.knows(status)
            if known is not None and known.sha256 == digest:
                if sealed.new is None:  # put away already; only its removal was cut short
                    os.unlink(self.project.state_name, dir_fd=self.folder())
                    return None
                return self._in_force(codec.parse(data), known, sealed)
            if sealed.new is not None and sealed.new.sha256 == digest:
                state = codec.parse(data)
                return Version(state, self._seal(state, disk.identity_of(status, digest, state["revision"]), None))
            if self.by_model and sealed.new is not None:
                return self._put_back(sealed, "changed")
        return self._adopt(data, disk.identity_of(status, digest, 0), sealed)

    def _found(self) -> Optional[tuple[os.stat_result, bytes]]:
        if self._folder < 0:
            try:
                self._folder = self.project.open_state_folder(create=False)
            except FileNotFoundError:
                return None
        return disk.read(self._folder, self.project.state_name)

    def _in_force(self, state: State, identity: Identity, sealed: Seal) -> Version:
        if sealed.live != model.wants_hooks(state):  # a crash came between a write and its last seal
            self._seal(state, identity, None)
        return Version(state, identity)

    def _adopt(self, data: bytes, identity: Identity, sealed: Optional[Seal]) -> Optional[Version]:
        in_force = self._copy(sealed)
        try:
            state, mended = codec.valid_state(data)
            before = codec.parse(in_force) if in_force else None
            if before is not None and before["batch_id"] == state["batch_id"]:
                state = {**state, "revision": max(state["revision"], before["revision"])}
                wrong = model.went_backwards(before, state)
                if wrong:
                    raise StateUnusable(f"What may only grow was made smaller: {'; '.join(wrong)}.")
        except StateUnusable as error:
            if in_force is None:
                raise StateUnusable(
                    f"{self.project.state} cannot be used and was left as it is: {error.message} Mend it, or move it "
                    "away; `batchctl validate` says more."
                ) from error
            return self._put_back(sealed, f"not a valid state ({error.message})")
        if sealed is not None:
            text = f"{self.project.state} was edited outside batchctl; the edit is valid and was taken over."
            self.note("adopted", text, revision=state["revision"] + 1)
        elif os.path.lexists(f"{self.project.private}/seal"):
            text = f"{self.project.private}/seal was damaged; it was made new for the state as it is."
            self.note("seal mended", text)
        if mended or sealed is None:
            kept = self._keep(f"{state['batch_id']}.as-it-was", data) if mended else None
            for some in audit.portions(mended) or [[]]:
                audit.record(self.project.log_folder, "migrated", mended=some, kept=kept)
        written = self.write(state, Version(state, identity))
        return self._written(written)

    def _written(self, state: State) -> Version:
        sealed = seal.read(self.project.private)
        if sealed is None or sealed.new is None:
            raise StateUnusable(f"{self.project.private}/seal vanished while it was written. Try again.")
        return Version(state, sealed.new)

    def _put_back(self, sealed: Optional[Seal], what: str) -> Version:
        """Put the version in force back in place of what is there, which goes to quarantine."""
        data = self._copy(sealed)
        if data is None:
            raise StateUnusable(
                f"{self.project.state} is {what}, and no intact copy of the version in force is left. It was left as "
                f"it is. Older batches are in {self.project.private}/history; `batchctl create --replace` starts anew "
                "and keeps what is there."
            )
        place = self._quarantine()
        state = codec.parse(data)
        self._replace(data, state, None)
        kept = f" What was there is now {place}." if place else ""
        text = f"{self.project.state} was {what} outside batchctl. Revision {state['revision']} was put back.{kept}"
        self.put_back = text
        self.note("put back", text, quarantined=place)
        return self._written(state)

    def _withdraw(self, sealed: Seal) -> None:
        data = self._copy(sealed)
        place = self._keep(codec.parse(data)["batch_id"], data) if data else None
        self._seal(None, None, None)
        where = f" Its last version is in {place}." if place else ""
        self.note("withdrawn", f"{self.project.state} was removed: its batch counts as withdrawn.{where}", kept=place)

    def _copy(self, sealed: Optional[Seal]) -> Optional[bytes]:
        """The content of the version in force from our own copies, None when there is no intact one, or no batch."""
        for identity in (sealed.new, sealed.old) if sealed and sealed.new else ():
            for name in (CURRENT, PREVIOUS):
                try:
                    found = disk.read(self._private, name) if identity else None
                except disk.Foreign:
                    continue
                if found and identity and disk.sha256(found[1]) == identity.sha256:
                    return found[1]
        return None

    def give_up(self) -> None:
        """Move what cannot be used away, for another batch to take its place."""
        place = self._quarantine()
        self.note("given up", f"{self.project.state} could not be used; it is now {place}.", quarantined=place)

    def _quarantine(self) -> Optional[str]:
        """Move what lies at the state's place away, whatever it is; where it went, None when nothing was there."""
        folder = paths.open_folder(self.project.private, "quarantine", create=True)
        stamp = f"{time.time_ns()}"
        try:
            os.rename(self.project.state_name, f"{stamp}.json", src_dir_fd=self.folder(), dst_dir_fd=folder)
            return f"{self.project.private}/quarantine/{stamp}.json"
        except FileNotFoundError:
            return None
        except OSError as error:
            if error.errno != errno.EXDEV:
                raise disk.trouble(f"{self.project.state} cannot be moved to quarantine", error) from error
            name = f"{self.project.state_name}.quarantined-{stamp}"  # the git folder is on another file system
            os.rename(self.project.state_name, name, src_dir_fd=self.folder(), dst_dir_fd=self.folder())
            return f"{os.path.dirname(self.project.state)}/{name}"
        finally:
            os.close(folder)

    # -- putting a version in place ------------------------------------------------------------------------------

    def write(self, state: State, before: Optional[Version]) -> State:
        """Check `state`, the successor of `before` (None for a first version), and put it in place; the state as
        written.
        """
        old = before.state if before else None
        new = {
            **state,
            "revision": (old["revision"] if old else 0) + 1,
            "updated_at": clock.now(),
            "state_file": self.project.state,
        }
        wrong = codec.problems(new, old)
        if wrong:
            raise StateUnusable(
                f"Refused to write a state that is not valid: {'; '.join(wrong)}. Nothing was changed; this is a bug "
                "in batch-implement."
            )
        try:
            self._replace(codec.serialise(new), new, before.identity if before else None)
        except NotConfirmed:
            self._log(old, new)
            raise
        self._log(old, new)
        return new

    def _log(self, old: Optional[State], new: State) -> None:
        for event in story.happened(old, new):
            audit.record(self.project.log_folder, batch_id=new["batch_id"], **event)

    def _replace(self, data: bytes, state: State, old: Optional[Identity]) -> None:
        folder = self.folder()
        copied = False
        try:
            identity = self._temp_file(folder, data, state["revision"])
            was_live = (seal.read(self.project.private) or _NO_SEAL).live
            self._seal(state, identity, old, live=was_live or model.wants_hooks(state))
            copied = self._keep_copy(data)  # before the rename: a crash behind it must not leave an older copy
            os.replace(self.project.temp_name, self.project.state_name, src_dir_fd=folder, dst_dir_fd=folder)
        except OSError as error:
            disk.unlink(folder, self.project.temp_name)
            if copied:
                self._take_copy_back()
            raise disk.trouble(f"Failed to save {self.project.state}", error) from error
        try:
            disk.sync(folder)
        except OSError as error:
            raise NotConfirmed(
                f"{self.project.state} was written (revision {state['revision']}), but the disk did not confirm it: "
                f"{error.strerror}. Check the disk, then `batchctl status`, before you repeat anything."
            ) from error
        if was_live and not model.wants_hooks(state):
            try:
                self._seal(state, identity, old)
            except OSError:
                pass  # the version is in place; a seal that still says `live` is mended at the next look

    def _temp_file(self, folder: int, data: bytes, revision: int) -> Identity:
        disk.unlink(folder, self.project.temp_name)
        return disk.write(folder, self.project.temp_name, data, revision)

    def _seal(
        self, state: Optional[State], new: Optional[Identity], old: Optional[Identity], *, live: Optional[bool] = None
    ) -> Identity:
        """Write the seal, durably. `new` is handed back (None only for a batch that is put away)."""
        alive = live if live is not None else state is not None and model.wants_hooks(state)
        text = seal.render(state, alive, new, old, model.contexts_to_remind(state) if state else [])
        try:
            disk.unlink(self._private, "seal.tmp")
            disk.write(self._private, "seal.tmp", text, 0)
            os.replace("seal.tmp", "seal", src_dir_fd=self._private, dst_dir_fd=self._private)
            disk.sync(self._private)
        except OSError:
            disk.unlink(self._private, "seal.tmp")
            raise
        return new or seal.Identity(0, 0, 0, "", 0)

    def _keep_copy(self, data: bytes) -> bool:
        """Keep the version that comes into force beside the lock, the one before it as `previous.json`; whether that
        worked. Trouble is only noted.
        """
        try:
            try:
                os.replace(CURRENT, PREVIOUS, src_dir_fd=self._private, dst_dir_fd=self._private)
            except FileNotFoundError:
                pass
            disk.create(self._private, CURRENT, data)
        except OSError as error:
            self.notes.append(
                f"Note: the copy {self.project.private}/{CURRENT} could not be written: {error.strerror}. The batch "
                "itself is not affected."
            )
            return False
        return True

    def _take_copy_back(self) -> None:
        """After a write that failed behind its copy: the version before it is still the one in force."""
        try:
            os.replace(PREVIOUS, CURRENT, src_dir_fd=self._private, dst_dir_fd=self._private)
        except OSError:
            pass  # then the copy is of a version that never came into force, which its revision shows

    def put_away(self, current: Version, why: str) -> None:
        """Move the version in force into history/."""
        place = self._keep(current.state["batch_id"], codec.serialise(current.state))
        try:
            self._seal(None, None, current.identity)
            os.unlink(self.project.state_name, dir_fd=self.folder())
            disk.sync(self.folder())
        except OSError as error:
            raise disk.trouble(f"{self.project.state} cannot be put away", error) from error
        audit.record(self.project.log_folder, "put away", batch_id=current.state["batch_id"], why=why, kept=place)

    def _keep(self, batch_id: str, data: bytes) -> str:
        folder = paths.open_folder(self.project.private, "history", create=True)
        try:
            names = set(os.listdir(folder))
            name, number = f"{batch_id}.json", 1
            while name in names:
                number += 1
                name = f"{batch_id}.{number}.json"
            disk.write(folder, name, data, 0)
            disk.sync(folder)
            return f"{self.project.private}/history/{name}"
        except OSError as error:
            raise disk.trouble(f"{self.project.private}/history cannot be written", error) from error
        finally:
            os.close(folder)


def no_batch(project: Project) -> Refused:
    """The error for a project without a batch."""
    return Refused(
        f"There is no batch in {project.root}. A person starts one: `/batch-implement FILE` in Claude Code, or "
        "`batchctl create FILE` in a terminal."
    )
