"""An interpreter in which some runs of our programs die: it stands where hooks and batchctl find their Python.

    python = installed(folder, plan, sys.executable)        write its path into the plugin's data folder, file `python`
    allow(folder, pid)                                      a client that it may kill
    deaths(folder)                                          what died, a line each: `batchctl 7 self 12 rename`

The plan is `{(kind, number): (whom, at)}`: the Nth process of a kind, at its `at`th call of the system that opens,
writes, syncs or renames something, at its end when it makes fewer. `self` is SIGKILL to the process itself; `client`
is SIGKILL to the client above it, while it works on; `both` is the client and then itself. Numbers count starts, so
that the same plan does the same again, whatever the clock says. Kinds: `batchctl`, `tool` (a hook of a tool call that
mostly looks), `turn` (a hook that mostly writes: a prompt, a worker, a stop, a compaction), `late` (one that the client
does not wait for, so that nobody can say when it comes).

Only the folder says whom it may kill. Run as a program it uses the standard library alone: it is on the way of every
hook.
"""

from __future__ import annotations

import os
import sys

CALLS = frozenset(
    ("open", "write", "fsync", "fdatasync", "rename", "replace", "link", "unlink", "mkdir", "flock", "ftruncate")
)
LATE = ("SessionEnd", "StopFailure")
SIGKILL = 9


def installed(folder, plan, python):
    """Make the interpreter in a new folder; its path."""
    os.makedirs(f"{folder}/plan")
    for (kind, number), (whom, at) in plan.items():
        with open(f"{folder}/plan/{kind}-{number}", "w", encoding="ascii") as file:
            file.write(f"{whom} {at}")
    path = f"{folder}/python3"
    with open(__file__, encoding="utf-8") as source, open(path, "w", encoding="utf-8") as program:
        program.write(f"#!{os.path.realpath(python)} -ISXutf8\n{source.read()}")
    os.chmod(path, 0o755)
    return path


def allow(folder, pid):
    """Note that this process is a client of the test's own."""
    with open(f"{folder}/clients", "a", encoding="ascii") as file:
        file.write(f"{pid}\n")


def deaths(folder):
    """What died so far, oldest first."""
    try:
        with open(f"{folder}/deaths", encoding="ascii") as file:
            return file.read().splitlines()
    except FileNotFoundError:
        return []


def kind_of(words):
    """The kind of a run, by its command line."""
    if not words[0].endswith("/hook.py"):
        return "batchctl"
    event, tool = [*words[1:], "", ""][:2]
    if event in LATE:
        return "late"
    return "tool" if event.startswith(("PreTool", "PostTool")) and tool != "Skill" else "turn"


def started(folder, kind):
    """The number of this start among those of its kind, from 1."""
    file = os.open(f"{folder}/starts-{kind}", os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    os.write(file, b".")
    number = os.lseek(file, 0, os.SEEK_CUR)  # behind its own byte, also when others write at the same time
    os.close(file)
    return number


def doom(folder, kind, number):
    """Whom this run kills and at which call; None for one that goes well."""
    try:
        with open(f"{folder}/plan/{kind}-{number}", encoding="ascii") as file:
            whom, at = file.read().split()
            return whom, int(at)
    except FileNotFoundError:
        return None


def dies(folder, kind, number, whom, at):
    """Let it happen at that call, by a profile function: it sees each call of the system before it is made. A child
    that is forked on the way has the function too, and dies of it alone: the one that runs a verify command.
    """
    made, own = [], os.getpid()

    def kill(name):
        child = os.getpid() != own
        with open(f"{folder}/deaths", "a", encoding="ascii") as file:
            file.write(f"{kind}{'-child' if child else ''} {number} {'self' if child else whom} {len(made)} {name}\n")
        if whom != "self" and not child:
            client = int(os.environ.get("CLAUDE_PID") or 0)
            with open(f"{folder}/clients", encoding="ascii") as file:
                known = str(client) in file.read().split()
            if known and client in ancestors():
                os.kill(client, SIGKILL)
        if whom != "client" or child:
            os.kill(os.getpid(), SIGKILL)

    def look(frame, event, function):
        if event != "c_call" or getattr(function, "__module__", "") not in ("posix", "fcntl", "io", "_io"):
            return
        name = function.__name__
        if name in CALLS:
            made.append(name)
        elif name != "_exit":
            return
        if len(made) == at or name == "_exit":
            sys.setprofile(None)
            kill(name)

    sys.setprofile(look)


def ancestors():
    """The processes above this one that live, nearest first."""
    found, pid = [], os.getpid()
    while pid > 1 and len(found) < 64:
        with open(f"/proc/{pid}/stat", "rb") as file:
            pid = int(file.read().rpartition(b")")[2].split()[1])
        found.append(pid)
    return found


def main():
    """Run the program that the command line names, as the real interpreter would."""
    folder = __file__.rpartition("/")[0]
    words = sys.argv[1:]
    while words[0].startswith("-"):
        if words.pop(0) == "-X":
            name, _, value = words.pop(0).partition("=")
            if name == "pycache_prefix":
                sys.pycache_prefix = value
    sys.argv = words
    kind = kind_of(words)
    number = started(folder, kind)
    doomed = doom(folder, kind, number)
    with open(words[0], encoding="utf-8") as file:
        program = compile(file.read(), words[0], "exec")
    if doomed:
        dies(folder, kind, number, *doomed)
    exec(program, {"__name__": "__main__", "__file__": words[0], "__builtins__": __builtins__})


if __name__ == "__main__":
    main()
