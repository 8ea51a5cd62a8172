"""Each kind of write that the store does, once, by its name: what the proofs kill, fault and cut.

    python -S -s writes.py LIB        LIB is the `lib` to use: the real one or a mutated copy

The scratch project at ROOT is made ready by `prepare(KIND, ROOT)` beforehand. The program loads all modules, says
`ready`, and then serves: for each line of jobs (JSON: a list of [KIND, ROOT]) it says `loaded`, waits for SIGUSR1,
forks a child for each job, and says how it ended; then it says `end` and waits for SIGUSR2. strace is attached
between `loaded` and SIGUSR1: it counts the calls of each process on its own, so that in every child the count begins
with the write (nothing of Python's start is in it), and one strace serves many jobs. The server itself then calls
nothing but clone, wait4, rt_sigtimedwait and writev, which the store never does.

How a job ended is one JSON object a line on standard output:

    {"kind": KIND, "revision": N, "notes": [...]}       the write returned; null when no batch is left
    {"kind": KIND, "error": NAME, "message": TEXT, "notes": [...]}
    {"kind": KIND, "traceback": TEXT}                   anything else was raised: a defect
    {"kind": KIND, "signal": 9}                         it was killed
"""

from __future__ import annotations

import gc
import json
import os
import signal
import sys
import traceback

NOW = "2026-01-31T23:59:59Z"
OLD_FILE = {
    "batch_id": "old", "features_file": "", "features": ["one", "two"], "total_features": 2, "current_index": 1,
    "completed_features": [0], "status": "in_progress",
}  # fmt: skip


def new_batch(batch_id: str = "batch-1"):
    """A first version with three features."""
    from batch_implement.core import batch_policy, batch_state

    state = batch_state.new_state(batch_id, ["one", "two", "three"], NOW, policy=batch_policy.create_policy())
    return batch_state.with_derived_fields({**state, "revision": 1})


def started(state):
    """The next feature opened."""
    from batch_implement.core import transitions

    return transitions.start(state, NOW, "base")


def completed(state):
    """The open feature completed, on evidence as given."""
    from batch_implement.core import transitions

    return transitions.complete(state, NOW, {"commit": "c0ffee", "verify": None})


def failed(state):
    """The open feature's attempt failed."""
    from batch_implement.core import transitions

    return transitions.fail(state, NOW, "it broke", "feature")


def recorded(state):
    """A push noted for the first feature."""
    from batch_implement.core import transitions

    return transitions.record_git_operation(state, 0, "push", {"success": True, "timestamp": NOW})


# kind: (what is there before, what is written); both get a store
KINDS = {
    "create": (lambda store: None, lambda store: store.create(new_batch())),
    "start": (lambda store: two_versions(store), lambda store: store.update(started)),
    "done": (lambda store: opened(store), lambda store: store.update(completed)),
    "fail": (lambda store: opened(store), lambda store: store.update(failed)),
    "record": (lambda store: two_versions(store), lambda store: store.update(recorded)),
    "migrate": (lambda store: lay_down(store, OLD_FILE), lambda store: store.reconcile()),
    "quarantine": (lambda store: damaged(store), lambda store: store.reconcile()),
    "archive": (lambda store: two_versions(store), lambda store: archive(store)),
    "replace": (lambda store: two_versions(store), lambda store: store.create(new_batch("batch-2"), replace=True)),
    "adopt": (lambda store: edited(store), lambda store: store.reconcile()),
    "finish": (lambda store: taking_over(store), lambda store: store.reconcile()),
    "end": (lambda store: nearly_done(store), lambda store: store.update(completed)),
    "withdraw": (lambda store: removed(store), lambda store: store.reconcile()),
    "read": (lambda store: two_versions(store), lambda store: store.read()),
}
UNTRUSTED = frozenset(("quarantine",))


def two_versions(store):
    """A batch at revision 2, so that there is a copy of the version before."""
    store.create(new_batch())
    store.update(recorded)


def opened(store):
    """A batch whose first feature is open."""
    two_versions(store)
    store.update(started)


def lay_down(store, data):
    """A state file as somebody else wrote it."""
    os.makedirs(os.path.dirname(store.project.state), exist_ok=True)
    with open(store.project.state, "w", encoding="utf-8") as file:
        json.dump(data, file)


def damaged(store):
    """A batch whose file the model overwrote."""
    two_versions(store)
    with open(store.project.state, "w", encoding="utf-8") as file:
        file.write("precious words")


def edited(store):
    """A batch whose file a person edited."""
    two_versions(store)
    lay_down(store, {**store.read(), "workflow_reminder": "Mind the gap."})


def taking_over(store):
    """A batch whose file a person edited, and whose taking over a crash cut short before the rename."""
    edited(store)
    real = os.replace

    def crash(source, target, **folders):
        if target == os.path.basename(store.project.state):
            raise KeyboardInterrupt
        real(source, target, **folders)

    os.replace = crash
    try:
        store.reconcile()
    except KeyboardInterrupt:
        pass
    finally:
        os.replace = real


def nearly_done(store):
    """A batch without a client whose only feature is open: its end writes the sidecar twice."""
    state = new_batch()
    store.create({**state, "features": state["features"][:1], "total_features": 1})
    store.update(started)


def removed(store):
    """A batch whose file a person removed."""
    two_versions(store)
    os.unlink(store.project.state)


def archive(store):
    """The batch put into the archive; there is none afterwards."""
    store.archive("aborted")


def store_of(kind: str, root: str, trusted: bool | None = None):
    """The store of the scratch project, as that kind of write uses it; or as told: a person, the model's hooks."""
    from batch_implement.base.project_paths import Project
    from batch_implement.store.store import Store

    return Store(Project(root), trusted=kind not in UNTRUSTED if trusted is None else trusted, timeout_s=1.0)


def prepare(kind: str, root: str) -> None:
    """Make a scratch project for that kind of write at ROOT, an empty or missing folder."""
    os.makedirs(f"{root}/.git")
    KINDS[kind][0](store_of("", root))


def load_everything() -> None:
    """Import what the store imports on the way, and read what it reads once a process."""
    import batch_implement.core.batch_events
    import batch_implement.store.archive
    import batch_implement.store.reconciliation
    from batch_implement.store import atomic_files, backups, serialization

    store_of("", "/nowhere")
    serialization.published_schema()
    serialization.parse_valid_state(json.dumps(OLD_FILE).encode())
    serialization.serialize(new_batch())
    recorded(completed(started(new_batch())))
    failed(started(new_batch()))
    for packed in backups.pack(b"", b""):
        backups.unpack(packed)
    atomic_files.sha256(batch_implement.core.batch_events.__name__.encode())


def say(answer: object) -> None:
    """Put one line on standard output."""
    os.writev(1, [json.dumps(answer).encode() + b"\n"])


def perform(kind: str, store) -> None:
    """Do that kind of write and say how it ended."""
    from batch_implement.core.errors import BatchError

    try:
        state = KINDS[kind][1](store)
        answer = {"revision": state and state["revision"]}
    except BatchError as error:
        answer = {"error": type(error).__name__, "message": error.message}
    except BaseException:
        answer = {"traceback": traceback.format_exc()}
    say({"kind": kind, **answer, "notes": store.notes})


def main(lib: str) -> None:
    """Serve jobs until standard input ends."""
    sys.path.insert(0, lib)
    allow_tracing()
    load_everything()
    signal.pthread_sigmask(signal.SIG_BLOCK, (signal.SIGUSR1, signal.SIGUSR2))
    gc.disable()
    say("ready")
    for line in sys.stdin:
        jobs = [(kind, store_of(kind, root)) for kind, root in json.loads(line)]
        say("loaded")
        signal.sigwait((signal.SIGUSR1,))
        for kind, store in jobs:
            child = fork()
            if not child:
                perform(kind, store)
                os._exit(0)
            status = os.waitpid(child, 0)[1]
            if status:
                say({"kind": kind, "signal": status})
        say("end")
        signal.sigwait((signal.SIGUSR2,))


def fork() -> int:
    """As os.fork, without the file that it opens from Python 3.12 on, to warn of threads: strace would count that call.
    There are no threads here.
    """
    if sys.version_info < (3, 12):
        return os.fork()
    import ctypes

    return int(ctypes.PyDLL(None).fork())


def allow_tracing() -> None:
    """Let a strace that is not our parent attach, where the system asks for that (Yama)."""
    import ctypes

    ctypes.CDLL(None).prctl(0x59616D61, ctypes.c_ulong(-1 & 0xFFFFFFFFFFFFFFFF), 0, 0, 0)


if __name__ == "__main__":
    main(sys.argv[1])
