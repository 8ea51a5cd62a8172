"""The real Claude Code, isolated: own home, own configuration, own environment, a scripted model for an API.

    client = Client(project, model, plugin_dir=REPOSITORY, home=tmp_path / "home")
    result = client.run("/batch-implement features.txt", mode="bypassPermissions")     # claude -p, to its end
    running = client.start("go"); running.wait_until(...); running.kill()               # the same, while it runs
    with Terminal(client) as terminal:                                                  # the interactive one, in tmux
        terminal.type("hello"); terminal.wait_for("hello back")

The binary is `BATCH_TEST_CLAUDE`, else the one that `npm install` puts below the repository's `node_modules`.
Guarantees: nothing of the person's own home, configuration or CLAUDE*, ANTHROPIC* and BATCH_* variables reaches the
client, and the only API it is told of is the scripted model; the network is not cut off. Fails with ClientMissing
without a binary, with Overdue when the client or a text on its screen does not come in time. Terminal needs tmux.
"""

from __future__ import annotations

import builtins
import json
import os
import platform
import re
import shutil
import signal
import subprocess
import time
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Callable, Protocol

from scripted_model import REPOSITORY

KEY = "sk-ant-scripted-model-0000000000000000000000"
"""The API key the client is given. It opens nothing."""

PROMPT = "\u2500{20,}\\s*\\n\u276f"
"""A pattern for the input line of the interactive client: a horizontal rule, and the prompt's mark on the next line."""

SCRUBBED = ("CLAUDE", "ANTHROPIC", "BATCH_", "GIT_", "XDG_", "TMUX", "OTEL_", "AWS_", "GOOGLE_")
"""Beginnings of the names of variables that are not passed on from the caller's environment."""


class ClientMissing(Exception):
    """There is no Claude Code to run. The message says where it was looked for and what to do."""


class Overdue(Exception):
    """Something did not happen in time. The message holds what was seen instead."""


class HasUrl(Protocol):
    """All that a client wants of a model: where it listens."""

    url: str


def binary() -> Path:
    """The path of the client's platform binary. Raises ClientMissing."""
    named = os.environ.get("BATCH_TEST_CLAUDE")
    if named:
        if not os.access(named, os.X_OK):
            raise ClientMissing(f"BATCH_TEST_CLAUDE is {named}, which is no program.")
        return Path(named)
    system = {"Darwin": "darwin"}.get(platform.system(), "linux")
    machine = {"aarch64": "arm64", "arm64": "arm64"}.get(platform.machine(), "x64")
    packages = [f"claude-code-{system}-{machine}", f"claude-code-{system}-{machine}-musl"]
    paths = [REPOSITORY / "node_modules" / "@anthropic-ai" / package / "claude" for package in packages]
    for path in paths:
        if os.access(path, os.X_OK):
            return path
    raise ClientMissing(f"No {paths[0]}. Run `npm install` in {REPOSITORY}, or set BATCH_TEST_CLAUDE to a claude.")


def new_project(path: Path) -> Path:
    """A scratch git repository with one commit (README.md) on `main`, in a new folder; returns the folder, resolved."""
    path.mkdir(parents=True)
    path = path.resolve()
    (path / "README.md").write_text("# scratch\n", encoding="utf-8")
    identity = ["-c", "user.name=Scratch", "-c", "user.email=scratch@example.invalid", "-c", "commit.gpgsign=false"]
    environment = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}
    environment.update(GIT_CONFIG_GLOBAL=os.devnull, GIT_CONFIG_SYSTEM=os.devnull)
    for arguments in (["init", "-q", "-b", "main"], ["add", "."], [*identity, "commit", "-q", "-m", "start"]):
        subprocess.run(["git", *arguments], cwd=path, env=environment, check=True, stdin=subprocess.DEVNULL)
    return path


@dataclass(frozen=True)
class Hook:
    """One hook run, as `--include-hook-events` shows it."""

    event: str
    """SessionStart, PreToolUse, ..."""
    name: str
    """The event with what matched: `PreToolUse:Bash`."""
    stdout: str
    stderr: str
    exit_code: int | None
    """None if it was cancelled."""
    outcome: str
    """success, error or cancelled."""

    def answer(self) -> dict[str, Any]:
        """Its stdout as JSON; empty if it printed nothing."""
        return json.loads(self.stdout) if self.stdout.strip() else {}


@dataclass(frozen=True)
class Result:
    """What a run of `claude -p` left: exit code (negative: killed by that signal), its output and the events in it."""

    exit_code: int
    events: list[dict[str, Any]]
    stdout: str
    stderr: str

    @property
    def final(self) -> dict[str, Any]:
        """The last `result` event: `result`, `is_error`, `terminal_reason`, `num_turns`, ...; empty if none came."""
        return next((e for e in reversed(self.events) if e.get("type") == "result"), {})

    @property
    def text(self) -> str:
        """The model's last words, or the message that stands in their place."""
        return str(self.final.get("result", ""))

    @property
    def session(self) -> str:
        """The session's id; empty if the client did not get so far."""
        return next((str(e["session_id"]) for e in self.events if e.get("session_id")), "")

    def of(self, kind: str, subtype: str = "") -> list[dict[str, Any]]:
        """The events of one type, and of one subtype if given."""
        return [e for e in self.events if e.get("type") == kind and (not subtype or e.get("subtype") == subtype)]

    def hooks(self, event: str = "") -> list[Hook]:
        """The hook runs that ended, in order; of one event if given."""
        return [
            Hook(
                e.get("hook_event", ""),
                e.get("hook_name", ""),
                e.get("stdout", ""),
                e.get("stderr", ""),
                e.get("exit_code"),
                e.get("outcome", ""),
            )
            for e in self.of("system", "hook_response")
            if not event or e.get("hook_event") == event
        ]


def events_of(output: str) -> list[dict[str, Any]]:
    """The stream-json events in an output; a line that is no JSON (cut off by a kill) is left out."""
    events = []
    for line in output.splitlines():
        try:
            event = json.loads(line)
        except ValueError:
            continue
        if isinstance(event, dict):
            events.append(event)
    return events


class Running:
    """A `claude -p` that runs. `pid` is the client's own; its output goes to files, so it never waits for a reader."""

    def __init__(self, process: subprocess.Popen[bytes], stdout: Path, stderr: Path) -> None:
        self.process = process
        self.pid = process.pid
        self._stdout = stdout
        self._stderr = stderr

    def so_far(self) -> Result:
        """The output until now; `exit_code` is 0 as long as it runs."""
        stdout = self._stdout.read_text(encoding="utf-8", errors="replace")
        stderr = self._stderr.read_text(encoding="utf-8", errors="replace")
        return Result(self.process.returncode or 0, events_of(stdout), stdout, stderr)

    def running(self) -> bool:
        """True until the client has ended."""
        return self.process.poll() is None

    def wait_until(self, predicate: Callable[[Running], bool], timeout: float = 60.0) -> None:
        """Return once the predicate holds; Overdue after `timeout` seconds, or if the client ends without it."""
        deadline = time.monotonic() + timeout
        while not predicate(self):
            ended = not self.running()
            if ended and predicate(self):
                return
            if ended or time.monotonic() > deadline:
                seen = self.so_far()
                why = f"the client ended with {seen.exit_code}" if ended else f"not within {timeout} s"
                raise Overdue(f"{why}\n{seen.stderr[-2000:]}\n{seen.stdout[-4000:]}")
            time.sleep(0.02)

    def wait(self, timeout: float = 120.0) -> Result:
        """The result, once the client has ended. After `timeout` seconds it is killed and Overdue raised."""
        try:
            self.process.wait(timeout)
        except subprocess.TimeoutExpired:
            self.end()
            seen = self.so_far()
            message = f"the client did not end within {timeout} s\n{seen.stderr[-2000:]}\n{seen.stdout[-4000:]}"
            raise Overdue(message) from None
        return self.so_far()

    def kill(self) -> Result:
        """SIGKILL to the client alone, as an out-of-memory killer does it; its children live on. Returns the result."""
        self.process.kill()
        self.process.wait()
        return self.so_far()

    def interrupt(self) -> None:
        """SIGINT, as Ctrl-C does it."""
        self.process.send_signal(signal.SIGINT)

    def end(self) -> None:
        """Kill what is left of it, children included. Harmless if nothing is."""
        try:
            os.killpg(self.pid, signal.SIGKILL)
        except (ProcessLookupError, PermissionError):
            pass
        self.process.wait()


class Client:
    """How to run the client: in `project`, against `model`, with `plugin_dir` as a plugin (None: none), in `home`.

    `home` is created with a configuration that answers every first-run dialog and trusts the project. Two clients may
    share a home: then they share sessions, as two windows do.
    """

    def __init__(self, project: Path, model: HasUrl, plugin_dir: Path | None, home: Path) -> None:
        self.binary = binary()
        self.project = project.resolve()
        self.model = model
        self.plugin_dir = plugin_dir
        self.home = home.absolute()
        self.configuration = self.home / ".claude"
        self._runs: list[Running] = []
        self._furnish()

    def environment(self, env: Mapping[str, str] | None = None) -> dict[str, str]:
        """The client's whole environment; `env` comes last and wins."""
        kept = {name: value for name, value in os.environ.items() if not name.upper().startswith(SCRUBBED)}
        kept.pop("CI", None)
        kept.pop("PYTHONDONTWRITEBYTECODE", None)
        for name in [n for n in kept if n.lower().endswith("_proxy")]:
            del kept[name]
        kept.update(
            HOME=str(self.home),
            CLAUDE_CONFIG_DIR=str(self.configuration),
            CLAUDE_CODE_TMPDIR=str(self.home / "tmp"),
            CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC="1",
            CLAUDE_CODE_MAX_RETRIES="1",
            DISABLE_AUTOUPDATER="1",
            IS_SANDBOX="1",
            ANTHROPIC_BASE_URL=self.model.url,
            ANTHROPIC_API_KEY=KEY,
            GIT_CONFIG_NOSYSTEM="1",
            LANG="C.UTF-8",
            SHELL="/bin/bash",
        )
        kept.update(env or {})
        return kept

    def arguments(self, mode: str, extra_args: Sequence[str] = ()) -> list[str]:
        """The command line that both the headless and the interactive client start with."""
        plugin = ["--plugin-dir", str(self.plugin_dir)] if self.plugin_dir else []
        return [str(self.binary), *plugin, "--permission-mode", mode, *extra_args]

    def start(
        self,
        prompt: str,
        *,
        mode: str = "default",
        extra_args: Sequence[str] = (),
        env: Mapping[str, str] | None = None,
    ) -> Running:
        """Start `claude -p PROMPT` and return at once. `close()` ends it if nothing else does."""
        output = ["--output-format", "stream-json", "--verbose", "--include-hook-events"]
        run = self.home / "runs" / uuid.uuid4().hex[:8]
        run.mkdir(parents=True)
        with open(run / "stdout", "wb") as stdout, open(run / "stderr", "wb") as stderr:
            process = subprocess.Popen(
                [*self.arguments(mode, extra_args), *output, "-p", prompt],
                cwd=self.project,
                env=self.environment(env),
                stdin=subprocess.DEVNULL,
                stdout=stdout,
                stderr=stderr,
                start_new_session=True,
            )
        running = Running(process, run / "stdout", run / "stderr")
        self._runs.append(running)
        return running

    def run(
        self,
        prompt: str,
        *,
        mode: str = "default",
        extra_args: Sequence[str] = (),
        env: Mapping[str, str] | None = None,
        timeout: float = 120.0,
    ) -> Result:
        """Run `claude -p PROMPT` to its end. Overdue after `timeout` seconds."""
        return self.start(prompt, mode=mode, extra_args=extra_args, env=env).wait(timeout)

    def command(
        self, *arguments: str, env: Mapping[str, str] | None = None, timeout: float = 60.0
    ) -> subprocess.CompletedProcess[str]:
        """Run a subcommand, such as `plugin validate DIR`, in the project; the exit code is the caller's to judge."""
        return subprocess.run(
            [str(self.binary), *arguments],
            check=False,
            cwd=self.project,
            env=self.environment(env),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=timeout,
        )

    def transcripts(self) -> list[Path]:
        """The JSON-lines files of the sessions in this home, oldest first; agent runs have files of their own below."""
        found = (self.configuration / "projects").glob("*/*.jsonl")
        return sorted(found, key=lambda path: path.stat().st_mtime)

    def close(self) -> None:
        """Kill every run that is still there."""
        for running in self._runs:
            running.end()

    def __enter__(self) -> Client:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _furnish(self) -> None:
        if Path(os.environ.get("HOME", "/nowhere")).resolve() == self.home.resolve():
            raise ValueError(f"{self.home} is the real home folder; a client under test gets one of its own.")
        self.configuration.mkdir(parents=True, exist_ok=True)
        (self.home / "tmp").mkdir(exist_ok=True)
        identity = "[user]\n\tname = Scratch\n\temail = scratch@example.invalid\n[init]\n\tdefaultBranch = main\n"
        (self.home / ".gitconfig").write_text(identity, encoding="utf-8")
        path = self.configuration / ".claude.json"
        known = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
        known.update(
            hasCompletedOnboarding=True,
            theme="dark",
            bypassPermissionsModeAccepted=True,
            customApiKeyResponses={"approved": [KEY[-20:]], "rejected": []},
        )
        trusted = {"hasTrustDialogAccepted": True, "hasCompletedProjectOnboarding": True}
        known.setdefault("projects", {}).setdefault(str(self.project), {}).update(trusted)
        path.write_text(json.dumps(known), encoding="utf-8")
        settings = self.configuration / "settings.json"
        if not settings.exists():
            settings.write_text(json.dumps({"skipDangerousModePermissionPrompt": True}), encoding="utf-8")


class Terminal:
    """The interactive client in a tmux of its own. `pid` is the client's. `close()` ends it and that tmux alone."""

    def __init__(
        self,
        client: Client,
        *,
        mode: str = "bypassPermissions",
        extra_args: Sequence[str] = (),
        env: Mapping[str, str] | None = None,
        size: str = "160x50",
    ) -> None:
        if not shutil.which("tmux"):
            raise ClientMissing("No tmux on PATH; the interactive client needs a terminal.")
        self._socket = f"batch-{uuid.uuid4().hex[:12]}"
        self._environment = {**client.environment(env), "TERM": "xterm-256color"}
        self._folder = client.home
        width, height = size.split("x")
        command = client.arguments(mode, extra_args)
        start = ["new-session", "-d", "-s", "main", "-x", width, "-y", height, "-c", str(client.project), *command]
        self._tmux("set-option", "-g", "remain-on-exit", "on", ";", *start)
        self.pid = int(self._tmux("display-message", "-p", "-t", "main", "#{pane_pid}").strip())
        self._socket_path = Path(self._tmux("display-message", "-p", "-t", "main", "#{socket_path}").strip())

    def screen(self) -> str:
        """What the screen shows now, lines that tmux wrapped joined again."""
        return self._tmux("capture-pane", "-p", "-J", "-t", "main")

    def history(self) -> str:
        """The screen and all that scrolled off it."""
        return self._tmux("capture-pane", "-p", "-J", "-S", "-", "-t", "main")

    def keys(self, *names: str) -> None:
        """Press keys by tmux's names: `Enter`, `Escape`, `C-c`, `Up`."""
        self._tmux("send-keys", "-t", "main", *names)

    def type(self, text: str) -> None:
        """Type a text and press Enter."""
        self._tmux("send-keys", "-t", "main", "-l", "--", text)
        # Text and Enter in one read are a paste to the client, and Enter a line break: let it read the text first.
        deadline = time.monotonic() + 20
        while text[-8:].strip() not in self.screen() and time.monotonic() < deadline:
            time.sleep(0.05)
        time.sleep(0.3)
        self.keys("Enter")

    def wait_for(self, text: str, timeout: float = 30.0) -> str:
        """The screen, as soon as it shows the text. Overdue, with the screen, after `timeout` seconds."""
        return self.wait_until(lambda screen: text in screen, timeout, repr(text))

    def wait_until(self, predicate: Callable[[str], bool], timeout: float = 30.0, what: str = "it") -> str:
        """The screen, as soon as the predicate holds for it. Overdue, with the screen, after `timeout` seconds."""
        deadline = time.monotonic() + timeout
        while True:
            screen = self.screen()
            if predicate(screen):
                return screen
            if time.monotonic() > deadline:
                raise Overdue(f"{what} is not on the screen after {timeout} s:\n{screen}")
            time.sleep(0.05)

    def wait_until_ready(self, timeout: float = 30.0) -> str:
        """The screen, as soon as the client takes a prompt: the mark stands below a rule, in a dialog at a choice."""
        return self.wait_until(lambda screen: bool(re.search(PROMPT, screen)), timeout, "the prompt")

    def running(self) -> bool:
        """True until the client has ended."""
        return self._tmux("display-message", "-p", "-t", "main", "#{pane_dead}").strip() != "1"

    def kill(self) -> None:
        """SIGKILL to the client alone, and wait until it is gone. The screen stays. Harmless once it has ended."""
        if self.running():
            os.kill(self.pid, signal.SIGKILL)
            self.wait_until(lambda screen: not self.running(), what="the client's end")

    def close(self) -> None:
        """Kill the client and its tmux, that one alone. Harmless when done twice."""
        try:
            self.kill()
        except Overdue:
            pass  # No tmux is left to ask: closed before, or it never started.
        command = ["tmux", "-L", self._socket, "kill-server"]
        subprocess.run(command, env=self._environment, capture_output=True, check=False)
        self._socket_path.unlink(missing_ok=True)  # tmux leaves it behind.

    def __enter__(self) -> Terminal:
        return self

    def __exit__(
        self, kind: builtins.type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _tmux(self, *arguments: str) -> str:
        command = ["tmux", "-u", "-f", os.devnull, "-L", self._socket, *arguments]
        done = subprocess.run(
            command, env=self._environment, cwd=self._folder, capture_output=True, text=True, check=False
        )
        if done.returncode:
            raise Overdue(f"tmux {' '.join(arguments)[:200]}: {done.stderr.strip()}")
        return done.stdout
