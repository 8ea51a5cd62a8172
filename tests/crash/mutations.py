"""What is wrong with the code, for each thing that a proof must notice: patches for `mutating.mutated`.

lib = mutated(SYNCS["..."], folder)        a copy of lib/ with that patch; its path
"""

from __future__ import annotations

from mutating import Patch, mutated

__all__ = [
    "BATCHES",
    "FAILED",
    "GUARDS",
    "HAMMERED",
    "KEPT",
    "KILLED",
    "NEEDLESS",
    "NO_LOCK",
    "READ_OUTSIDE",
    "ROTATED",
    "SAME_REVISION",
    "STOPPED",
    "SYNCS",
    "TAKEN_OVER",
    "TWO_WRITERS",
    "WITNESS",
    "Patch",
    "mutated",
    "unsynced",
]


def unsynced(file: str, call: str) -> Patch:
    """A patch by which this call of `atomic_files.write_over_leftover` leaves out its sync."""
    return (
        file,
        call,
        call.replace(
            "atomic_files.write_over_leftover(",
            "(lambda real, *given: (setattr(atomic_files, 'sync', lambda descriptor: None), "
            "atomic_files.write_over_leftover(*given), setattr(atomic_files, 'sync', real))[1])(atomic_files.sync, ",
        ),
    )


SYNCS: dict[str, Patch] = {
    "no sync of the new version": unsynced(
        "store/transaction.py",
        'atomic_files.write_over_leftover(folder, self.project.temp_name, data, state["revision"])',
    ),
    "no sync of the folder after the rename": (
        "store/transaction.py",
        "        try:\n            atomic_files.sync(folder)\n",
        "        try:\n            pass\n",
    ),
    "no sync of the sidecar": unsynced(
        "store/backups.py", "atomic_files.write_over_leftover(private, sidecar.TEMP_NAME, text, 0)"
    ),
    "no sync of the sidecar's folder": ("store/backups.py", "        atomic_files.sync(private)\n", "        pass\n"),
    "no sync of what goes into the archive": unsynced(
        "store/archive.py", "atomic_files.write_over_leftover(private, sidecar.TEMP_NAME, data, 0)"
    ),
    "no sync of the archive's folder": (
        "store/archive.py",
        "src_dir_fd=private, dst_dir_fd=folder)\n            atomic_files.sync(folder)\n",
        "src_dir_fd=private, dst_dir_fd=folder)\n",
    ),
    "no sync of the quarantine's folder": ("store/archive.py", "        atomic_files.sync(to)\n", "        pass\n"),
    "no sync of the folder above a new one": ("base/project_paths.py", "                    os.fsync(parent)\n", ""),
}
NEEDLESS: Patch = (
    "store/transaction.py",
    "            atomic_files.sync(self.folder())\n        except OSError:\n",
    "            pass\n        except OSError:\n",
)
WITNESS = {  # the kind of write that shows it
    "no sync of what goes into the archive": "archive",
    "no sync of the archive's folder": "archive",
    "no sync of the quarantine's folder": "quarantine",
    "no sync of the folder above a new one": "create",
}
KILLED: dict[str, Patch] = {
    "written in place": (
        "store/transaction.py",
        "            os.replace(self.project.temp_name, self.project.state_name, "
        "src_dir_fd=folder, dst_dir_fd=folder)\n"
        "        except OSError as error:\n            atomic_files.discard(folder, self.project.temp_name)\n",
        "            atomic_files.unlink(folder, self.project.state_name)\n"
        "            atomic_files.create(folder, self.project.state_name, data, 0)\n"
        "        except OSError as error:\n            atomic_files.discard(folder, self.project.temp_name)\n",
    ),
    "a temporary file that is left over is in the way": (
        "store/transaction.py",
        "            fingerprint = atomic_files.write_over_leftover(",
        "            fingerprint = atomic_files.write(",
    ),
    "the lock outlives its holder": (
        "store/lock.py",
        "                fcntl.flock(self._fd, fcntl.LOCK_EX | fcntl.LOCK_NB)\n",
        "                os.mkdir(f'{self._folder}/lock.d')\n                self._made = True\n",
    ),
    "what lies at the state's place is moved away first": (
        "store/archive.py",
        "        os.link(project.state_name, name, src_dir_fd=folder, dst_dir_fd=to, follow_symlinks=False)\n",
        "        os.rename(project.state_name, name, src_dir_fd=folder, dst_dir_fd=to)\n",
    ),
    "an archived copy is written under its name": (
        "store/archive.py",
        "        atomic_files.write_over_leftover(private, sidecar.TEMP_NAME, data, 0)"
        "  # the name that the next write sweeps\n"
        "        try:\n"
        "            os.rename(sidecar.TEMP_NAME, name, src_dir_fd=private, dst_dir_fd=folder)\n",
        "        atomic_files.write(folder, name, data, 0)\n        try:\n            pass\n",
    ),
}
FAILED: dict[str, Patch] = {
    "a temporary file stays after an error": (
        "store/transaction.py",
        "            atomic_files.discard(folder, self.project.temp_name)\n            if is_backed_up:",
        "            if is_backed_up:",
    ),
    "a failed sync counts for nothing": (
        "store/atomic_files.py",
        "        os.fsync(descriptor)\n",
        "        try:\n            os.fsync(descriptor)\n        except OSError:\n            pass\n",
    ),
    "trouble with the audit log fails the write": (
        "store/audit_log.py",
        '    except OSError as error:\n        last_error = f"the audit log {private}',
        '    except MemoryError as error:\n        last_error = f"the audit log {private}',
    ),
    "a file that is too short passes": (
        "store/atomic_files.py",
        "        if status.st_size != len(data):\n",
        "        if False:\n",
    ),
    "a copy that cannot be read takes what was quarantined back": (
        "store/backups.py",
        "        except StateError:  # an I/O error",
        "        except MemoryError:  # an I/O error",
    ),
}
BATCHES: dict[str, Patch] = {
    "a feature that is open is begun anew": (
        "commands/feature_commands.py",
        '    if not state["active"] or lease.get_worker(state):\n'
        "        base = git_client.get_head(project.root) if project.git_dir else None\n"
        "        branch = git_client.get_branch(project.root) if project.git_dir else None\n"
        "        state = context.store.update(\n"
        "            lambda current: transitions.start(current, ",
        "    if True:\n"
        "        base = git_client.get_head(project.root) if project.git_dir else None\n"
        "        branch = git_client.get_branch(project.root) if project.git_dir else None\n"
        "        state = context.store.update(\n"
        "            lambda current: transitions.start({**current, 'active': None}, ",
    ),
    "a worker is not told what lies there": (
        "commands/feature_commands.py",
        '    return prompts.describe_existing_work(commits, uncommitted, active["base_commit"])\n',
        '    return ""\n',
    ),
    "a resume counts the attempts down": (
        "commands/batch_commands.py",
        "        running = transitions.unpause(run_transitions.clear_running(current))\n",
        "        running = {**transitions.unpause(current), 'retry_attempts': {}}\n",
    ),
    "the sidecar is not written": (
        "store/backups.py",
        '        os.replace(sidecar.TEMP_NAME, "sidecar", src_dir_fd=private, dst_dir_fd=private)\n',
        "        atomic_files.unlink(private, sidecar.TEMP_NAME)\n",
    ),
}
GUARDS: dict[str, Patch] = {
    "the guard lets everything pass": (
        "hooks/tool_use.py", "    reason = _find_denial_reason(event)\n", "    reason = None\n"
    ),
    "nothing is undone after": (
        "hooks/tool_use.py", "        notes = event.open_store().notes\n", "        notes = event.notes\n"
    ),
    "what the model wrote is taken for a person's edit": (
        "store/transaction.py", "self.trusted = project, notes, trusted\n", "self.trusted = project, notes, True\n",
    ),
    "who reads the state is denied": (
        "hooks/tool_use.py", "    refusal = command_policy.check_command(command, names)\n",
        "    refusal = command_policy.Refusal('state', 'it')\n",
    ),
}  # fmt: skip
_READ = (
    "        with self._transaction() as at:\n            current = at.reconcile()\n            if current is None:\n"
    "                raise backups.no_batch_error(self.project)\n            changed, result = change("
)
READ_OUTSIDE: Patch = (
    "store/store.py", f"{_READ}current.state)",
    f"        before = self.read()\n{_READ}before)".replace(
        "            changed", "            current.state = before\n            changed"
    ),
)  # fmt: skip
NO_LOCK: Patch = ("store/lock.py", "                fcntl.flock(self._fd, fcntl.LOCK_EX | fcntl.LOCK_NB)\n", "")
SAME_REVISION: Patch = (
    "store/transaction.py", '(old["revision"] if old else 0) + 1', 'old["revision"] if old else 1'
)  # fmt: skip
HAMMERED: dict[str, Patch] = {
    "no lock": NO_LOCK,
    "the lock is the state file itself": (
        "store/lock.py",
        '        return "an unknown process"\n',
        '        return "an unknown process"\n\n\n'
        "def _open(self):\n"
        "    try:\n"
        "        found = os.open('../../.claude/batch_state.json', os.O_RDWR, dir_fd=self._folder_fd)\n"
        "    except FileNotFoundError:\n"
        "        return os.open(NAME, os.O_RDWR | os.O_CREAT, 0o600, dir_fd=self._folder_fd)\n"
        "    fcntl.flock(found, fcntl.LOCK_EX)\n"
        "    return found\n\n\n"
        "FileLock._open, FileLock._is_current_file = _open, lambda self: True\n"
        "FileLock._write_holder = lambda self: None\n",
    ),
    "the state is read before the lock is had": READ_OUTSIDE,
    "the revision is not raised": SAME_REVISION,
    "written in place": KILLED["written in place"],
}
KEPT: Patch = (
    "store/lock.py",
    '        return "an unknown process"\n',
    '        return "an unknown process"\n\n\n'
    "def _enter(self):\n"
    "    until = time.monotonic() + self._timeout_s\n"
    "    while True:\n"
    "        try:\n"
    "            return os.mkdir(f'{self._folder}/lock.d')\n"
    "        except FileExistsError:\n"
    "            if time.monotonic() > until:\n"
    "                raise LockTimeout('It is FileLock.', 'lock-FileLock', 'somebody')\n"
    "            time.sleep(0.005)\n\n\n"
    "FileLock.__enter__, FileLock.__exit__ = _enter, lambda self, *what: os.rmdir(f'{self._folder}/lock.d')\n",
)
STOPPED: dict[str, Patch] = {
    "who has the lock does not sign": ("store/lock.py", "                    self._write_holder()\n", ""),
    "who waits waits for ever": (
        "store/lock.py",
        "            left = deadline - time.monotonic()\n",
        "            left = 1.0\n",
    ),
    "no lock": NO_LOCK,
}
TAKEN_OVER: dict[str, Patch] = {
    "whose the batch is was looked at before the lock was had": (
        "commands/batch_commands.py",
        "        _refuse_if_in_use(current, caller)\n",
        "        _refuse_if_in_use(state, caller)\n",
    ),
    "whose the batch is was looked at before, at a start": (
        "hooks/compaction.py",
        '        is_free = process_identity.classify_owner(state["owner"], caller.session_id, caller.pid) != "other"\n',
        "        is_free = True\n",
    ),
    "who lost is told to work": (
        "hooks/compaction.py",
        'if process_identity.classify_owner(state["owner"], caller.session_id, caller.pid) == "other":',
        "if False:",
    ),
}
ROTATED: Patch = (
    "store/audit_log.py",
    "    if os.path.exists(path) and os.stat(path).st_ino == os.fstat(descriptor).st_ino:\n",
    "    if os.path.exists(path):\n",
)

TWO_WRITERS: dict[str, Patch] = {
    "the revision is not raised": SAME_REVISION,
    "a counter starts again with a retry": (
        "core/transitions.py",
        '{**changed, "retry_allowance": allowance}',
        '{**changed, "retry_allowance": allowance, '
        '"retry_attempts": {at: n for at, n in state["retry_attempts"].items() if int(at) not in requested}}',
    ),
    "what needs a failed feature is not skipped": (
        "core/blocked_features.py",
        '    return {**state, "skipped_features": [*state["skipped_features"], *skipped]} if skipped else state\n',
        "    return state\n",
    ),
    "the allowance is not renewed": (
        "core/transitions.py", '{**changed, "retry_allowance": allowance}', "changed"
    ),
    "what is tried again comes first": (
        "core/batch_state.py", "        if tried.get(name, 0) <= granted.get(name, 0):\n", "        if True:\n"
    ),
    "no lock": NO_LOCK,
    "a batch is taken over from the living": (
        "commands/batch_commands.py", "        _refuse_if_in_use(current, caller)\n", ""
    ),
    "an old version may be saved": ("api/state_files.py", 'if before["revision"] != revision:', "if False:"),
}  # fmt: skip
