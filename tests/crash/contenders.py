"""Processes that contend for one batch: they write, read, hold the lock, race for it, all at the same time.

    python -S -s contenders.py LIB JOB        LIB is the `lib` to use: the real one or a mutated copy

JOB is a JSON object: `do`, one of `JOBS`, and its arguments. What came of it is one JSON object on standard output; it
is judged elsewhere (test_contention.py). The program loads everything once and forks all others, so that they
really meet. One that has not answered within `patience_s` is killed, and its answer is `{"waits": true}`.
"""

from __future__ import annotations

import itertools
import json
import os
import select
import signal
import sys
import threading
import time
import traceback
from functools import partial

import writes

THREADS = (4, 3, 1, 1, 1, 1, 1, 1)  # in each writing process; they share its work
WAITERS = (1, 1, 3)
LOOK_EVERY_S = 0.002


# -- children ----------------------------------------------------------------------------------------------------------


class Child:
    """A forked process that does `work` and answers with what that returns, or with the error that it raised."""

    def __init__(self, work, *unneeded) -> None:
        self.answers, into = os.pipe()
        self.pid = os.fork()
        if self.pid:
            os.close(into)
            return
        for descriptor in (self.answers, *unneeded):
            os.close(descriptor)
        try:
            answer = work()
        except Exception as error:
            answer = told(error)
        with os.fdopen(into, "w", encoding="utf-8") as out:
            json.dump(answer, out)
        os._exit(0)

    def answer(self, until: float):
        """Its answer, once it has ended; by this time of the monotonic clock it has."""
        data = b""
        while True:
            if not select.select([self.answers], [], [], max(0.0, until - time.monotonic()))[0]:
                os.kill(self.pid, signal.SIGKILL)
                data = b'{"waits": true}'
                break
            part = os.read(self.answers, 65536)
            if not part:
                break
            data += part
        os.close(self.answers)
        status = os.waitpid(self.pid, 0)[1]
        return json.loads(data) if data else {"died": status}


def answers(children, patience_s):
    """What all of them answer."""
    until = time.monotonic() + patience_s
    return [child.answer(until) for child in children]


def told(error):
    """An error as an answer."""
    from batch_implement.core.errors import BatchError

    if isinstance(error, BatchError):
        return {"error": type(error).__name__, "message": error.message, "exit_code": error.exit_code}
    return {"error": type(error).__name__, "message": traceback.format_exc()}


def shared_by(threads, work):
    """Do `work` in that many threads at once, one of them this one; what each returned, or its error."""
    results = []

    def do():
        try:
            results.append(work())
        except Exception as error:
            results.append(told(error))

    others = [threading.Thread(target=do) for _ in range(threads - 1)]
    for other in others:
        other.start()
    do()
    for other in others:
        other.join()
    return results


def flat(lists):
    """The elements of lists, and what is no list as it is."""
    return [one for some in lists for one in (some if isinstance(some, list) else [some])]


# -- writers and readers -----------------------------------------------------------------------------------------------


def store_with(root, timeout_s):
    """A store of its own for each use, as each command has one."""
    from batch_implement.base.project_paths import Project
    from batch_implement.store.store import Store

    return Store(Project(root), timeout_s=timeout_s)


def begun(root):
    """A batch at `root`, at revision 1."""
    os.makedirs(f"{root}/.git")
    store_with(root, 60).create(writes.new_batch())


def marked(state, who, number):
    """The state with a mark that can be told from every other: a decision, which the audit log tells too."""
    from batch_implement.core import transitions

    return transitions.decide(state, writes.NOW, who, str(number))


def marks(state):
    """The marks in a state, in the order in which they were made."""
    return [[decision["question"], int(decision["answer"])] for decision in state["decisions"]]


def write_on(root, who, numbers, timeout_s):
    """Leave a mark for each number; the marks, each with the revision that it was told, and the longest wait."""
    made, longest_s = [], 0.0
    for number in numbers:
        began = time.monotonic()
        state = store_with(root, timeout_s).update(lambda state, number=number: marked(state, who, number))
        longest_s = max(longest_s, time.monotonic() - began)
        made.append([who, number, state["revision"]])
    return {"made": made, "longest_s": longest_s}


def read_on(root, until, timeout_s):
    """Look at the state, through the store and as any other program would, until the descriptor `until` ends; how
    often, and what was wrong with it.
    """
    from batch_implement.store import serialization

    wrong, last = [], 0
    for looks in itertools.count(1):
        try:
            if looks % 2:
                state = store_with(root, timeout_s).read()
            else:
                with open(f"{root}/.claude/batch_state.json", encoding="utf-8") as file:
                    state = json.load(file)
            if state is None:
                wrong.append("no batch")
            elif state["revision"] < last or len(state["decisions"]) != state["revision"] - 1:
                wrong.append(f"{len(state['decisions'])} marks in revision {state['revision']} after {last}")
            else:
                last = state["revision"]
                wrong += serialization.find_problems(state, None)
        except Exception as error:
            wrong.append(told(error)["message"][-300:])
        if len(wrong) > 10 or select.select([until], [], [], LOOK_EVERY_S)[0]:
            return {"looks": looks, "wrong": wrong, "last": last}


def hammer(root, updates, timeout_s, patience_s):
    """All write, `updates` marks a process, while others read."""
    begun(root)
    until, over = os.pipe()
    readers = [
        Child(lambda threads=threads: shared_by(threads, lambda: read_on(root, until, timeout_s)), over)
        for threads in (2, 1)
    ]
    began = time.monotonic()

    def write(who, threads):
        numbers = iter(range(updates))
        return shared_by(threads, lambda: write_on(root, who, numbers, timeout_s))

    writers = [
        Child(lambda who=f"process {number}", threads=threads: write(who, threads), over)
        for number, threads in enumerate(THREADS)
    ]
    wrote = flat(answers(writers, patience_s))
    took_s = time.monotonic() - began
    os.close(over)
    read = flat(answers(readers, patience_s))
    return {**outcome(root), "wrote": wrote, "read": read, "took_s": took_s}


def outcome(root):
    """What is there in the end: the file as any program reads it, and the marks that the audit log tells."""
    from batch_implement.store import audit_log

    with open(f"{root}/.claude/batch_state.json", encoding="utf-8") as file:
        state = json.load(file)
    logged = [
        [entry["question"], int(entry["answer"])]
        for entry in audit_log.read_entries(f"{root}/.git/batch-implement")
        if entry["event"] == "decided"
    ]
    return {"revision": state["revision"], "marks": marks(state), "logged": logged}


# -- holders -----------------------------------------------------------------------------------------------------------


def holding(root):
    """A child that is in the middle of an update, and what lets it go on: a descriptor to close."""
    go, release = os.pipe()
    inside, say = os.pipe()

    def hold():
        def change(state):
            os.write(say, b"x")
            os.read(go, 1)
            return marked(state, "holder", 0)

        return {"revision": store_with(root, 60).update(change)["revision"]}

    child = Child(hold, release)
    os.close(say)
    os.close(go)
    assert os.read(inside, 1) == b"x"
    os.close(inside)
    return child, release


def stop(root, timeout_s, patience_s):
    """A holder is stopped while others want to write; they look whom to blame. Then it goes on."""
    begun(root)
    holder, release = holding(root)
    os.kill(holder.pid, signal.SIGSTOP)
    os.waitpid(holder.pid, os.WUNTRACED)
    wait = {
        who: (lambda who=who, threads=threads: shared_by(threads, lambda: write_on(root, who, [1], timeout_s)))
        for who, threads in ((f"waiter {number}", threads) for number, threads in enumerate(WAITERS))
    }
    waited = flat(answers([Child(work, release) for work in wait.values()], patience_s))
    seen = store_with(root, timeout_s).read()["revision"]
    os.kill(holder.pid, signal.SIGCONT)
    os.close(release)
    held = holder.answer(time.monotonic() + patience_s)
    return {**outcome(root), "holder": holder.pid, "waited": waited, "seen": seen, "held": held}


def kill(root, rounds, timeout_s, patience_s):
    """Holders are killed, in every second round while others wait; how long after that those had the lock."""
    begun(root)
    after_s, wrong = [], []
    for number in range(rounds):
        holder, release = holding(root)
        waiters = []
        for who in range(2 * (number % 2)):
            waiters.append(Child(partial(came, root, f"waiter {who}", number, timeout_s), release))
        time.sleep(0.02 * len(waiters))
        killed = time.monotonic()
        os.kill(holder.pid, signal.SIGKILL)
        os.waitpid(holder.pid, 0)
        if not waiters:
            waiters = [Child(partial(came, root, "next", number, 0), release)]
        came_through = answers(waiters, patience_s)
        after_s += [answer["at_s"] - killed for answer in came_through if "at_s" in answer]
        wrong += [answer for answer in came_through if "at_s" not in answer]
        os.close(holder.answers)
        os.close(release)
        if wrong:
            break
    return {**outcome(root), "after_s": after_s, "wrong": wrong}


def came(root, who, number, timeout_s):
    """Leave a mark; when the lock was had for it, by the monotonic clock."""
    at_s = []

    def change(state):
        at_s.append(time.monotonic())
        return marked(state, who, number)

    store_with(root, timeout_s).update(change)
    return {"at_s": at_s[0]}


# -- races -------------------------------------------------------------------------------------------------------------


def idle():
    """A process that lives until it is killed; its id."""
    pid = os.fork()
    if not pid:
        while True:
            signal.pause()
    return pid


def ended(pid):
    """Kill an idle process and see it gone."""
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)


def take_over(root, rounds, event, sessions, patience_s):
    """The client that has the batch dies, and two others want it at once, through the hook of `event`, under these
    two session ids; what each was answered, who has it then, and what the audit log tells of it.
    """
    from batch_implement.base import process_identity
    from batch_implement.core import lease as leases
    from batch_implement.hooks import compaction, dispatch, slash_commands  # noqa: F401 - they are to be there before the fork
    from batch_implement.store import audit_log

    begun(root)
    os.chdir(root)
    clients = [idle(), idle()]
    seen = []
    for _ in range(rounds):
        dying = idle()
        owner = process_identity.new_owner(
            sessions[0] if event == "SessionStart" else "session-gone", dying, writes.NOW
        )
        before = store_with(root, 60).update(lambda state, owner=owner: leases.acquire(state, owner))["revision"]
        logged = sum(1 for _ in audit_log.read_entries(f"{root}/.git/batch-implement"))
        ended(dying)
        go, release = os.pipe()
        racers = [Child(partial(asked, dispatch, event, sessions[who], clients[who], go), release) for who in (0, 1)]
        os.close(go)
        os.close(release)
        said = answers(racers, patience_s)
        state = store_with(root, 60).read()
        events = [line["event"] for line in audit_log.read_entries(f"{root}/.git/batch-implement")][logged:]
        seen.append({"said": said, "owner": state["owner"], "writes": state["revision"] - before, "events": events})
    for client in clients:
        ended(client)
    return {"rounds": seen, "clients": clients}


def asked(entry, event, session, client, go):
    """What the hook answers that client, once `go` ends."""
    os.environ.update(CLAUDE_PID=str(client), CLAUDE_CODE_SESSION_ID=session, CLAUDE_PROJECT_DIR=os.getcwd())
    told = {
        "UserPromptExpansion": {"command_name": "batch-implement:batch-implement", "command_args": "--resume"},
        "SessionStart": {"source": "resume"},
    }[event]
    raw = json.dumps({"session_id": session, "hook_event_name": event, "cwd": os.getcwd(), **told}).encode()
    out, into = os.pipe()
    sys.stdout = os.fdopen(into, "w", encoding="utf-8")
    os.read(go, 1)
    entry.main(event, "", raw)
    sys.stdout.close()
    with os.fdopen(out, encoding="utf-8") as answer:
        return {"answer": answer.read()}


def rotate(root, writers, patience_s):
    """So many processes find the log full at the same moment and want to write a line; what it tells afterwards."""
    from batch_implement.store import audit_log

    os.makedirs(root)
    audit_log.ROTATE_AT_BYTES = 1000
    audit_log.record(root, "old", text="x" * 1000)
    go, release = os.pipe()
    there, say = os.pipe()

    def write(number):
        real = audit_log.fcntl.flock

        def flock(descriptor, how):  # all have found the old log full before the first of them rotates it
            os.write(say, b"x")
            os.read(go, 1)
            real(descriptor, how)

        audit_log.fcntl.flock = flock
        audit_log.record(root, "new", number=number)
        return {"trouble": audit_log.last_error}

    children = [Child(lambda number=number: write(number), release) for number in range(writers)]
    for _ in children:
        os.read(there, 1)
    os.close(release)
    said = answers(children, patience_s)
    entries = [entry.get("number", entry["event"]) for entry in audit_log.read_entries(root)]
    return {"said": said, "entries": entries, "files": sorted(os.listdir(root))}


JOBS = {"hammer": hammer, "stop": stop, "kill": kill, "take over": take_over, "rotate": rotate}


def main(lib: str, job: str) -> None:
    """Do one job and say what came of it."""
    sys.path.insert(0, lib)
    writes.load_everything()
    arguments = json.loads(job)
    writes.say(JOBS[arguments.pop("do")](**arguments))


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2])
