"""Unattended runs in tests: the driver in this process, clients or commands as workers, a clock that only moves on.

run = UnattendedRun(project, worker="sh work.sh")   the batch exists, as after `batchctl run` was typed
state = run.drive(jobs=4)                           to its end
run.events                                          what the display was given: (kind, text)
"""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Callable

from batch_implement.base import timestamps
from batch_implement.base.project_paths import Project
from batch_implement.runner import acquire_batch, local_executor
from batch_implement.runner.driver import Driver
from batch_implement.store.store import Store

State = dict[str, Any]


class TurnedClock:
    """A clock that moves on when somebody sleeps."""

    def __init__(self) -> None:
        self.ahead_s = 0.0
        self.slept: list[float] = []

    def now(self) -> str:
        """Return the real time plus all sleeps."""
        return timestamps.add_seconds(timestamps.now(), self.ahead_s)

    def sleep(self, seconds: float, woken: Callable[[], object]) -> None:
        """Move the clock on instead of waiting."""
        self.slept.append(seconds)
        self.ahead_s += max(seconds, 1.0)


class UnattendedRun:
    """A project and the driver of its batch; it is the display of the driver, too."""

    def __init__(self, project: Path, environ: Mapping[str, str] | None = None, **options: Any) -> None:
        self.project, self.environ, self.options = Project(str(project)), environ, options
        self.events: list[tuple[str, str]] = []
        self.notified: list[str] = []
        self.clock = TurnedClock()
        self.driver: Driver | None = None

    def event(self, kind: str, text: str) -> None:
        """Keep an event of the display."""
        self.events.append((kind, text))

    def refresh(self, state: State) -> None:
        """Show nothing."""

    def of(self, kind: str) -> list[str]:
        """Return the texts of the events of one kind."""
        return [text for each, text in self.events if each == kind]

    def drive(
        self, *, jobs: int = 1, budgets: State | None = None, during: Callable[[UnattendedRun], None] | None = None
    ) -> State:
        """Drive the batch to its end; `during(self)` runs in a thread meanwhile."""
        options = {"permission_mode": "bypassPermissions", "allow": [], "merge": False, "pr": None, "worker": None}
        store = Store(self.project)
        with self._environment():
            state = acquire_batch.acquire_run(
                store, self.clock.now(), jobs=jobs, worktrees=f"{self.project.root}.worktrees",
                options={**options, **self.options}, budgets=budgets or {},
            )  # fmt: skip
            self.driver = Driver(
                store,
                state,
                local_executor,
                display=self,
                notify=lambda event, _: self.notified.append(event),
                now=self.clock.now,
                sleep=self.clock.sleep,
            )
            thread = threading.Thread(target=during, args=(self,)) if during else None
            if thread:
                thread.start()
            try:
                return self.driver.run()
            finally:
                if thread:
                    thread.join()

    @contextmanager
    def _environment(self) -> Iterator[None]:
        """Replace this process's environment while the driver runs."""
        before = dict(os.environ)
        if self.environ is not None:
            os.environ.clear()
            os.environ.update(self.environ)
        try:
            yield
        finally:
            os.environ.clear()
            os.environ.update(before)

    def state(self) -> State:
        """The state now."""
        return Store(self.project).require()
