"""Show a run in a terminal or a log.

    display = live_display.open_display(sys.stdout, os.environ)
    display.event("started", "feature 4 of 20 (...): attempt 1")
    display.refresh(state)
    display.close()

`LiveDisplay`, at a terminal with rich, stays at the bottom with the events above it. `Display` prints a line for each
event, and one every ten minutes without an event. Times are UTC.

Neither a closed terminal nor a bug in the drawing ends the run: `gone` is set and nothing is shown any more. Texts are
shown without control characters and never interpreted as styles.
"""

from __future__ import annotations

import contextlib
import os
import sys
import threading
import time
from collections import deque
from typing import Any, Callable, Mapping, Optional, TextIO

from ...base import timestamps
from ...base.text import one_line
from . import view_model, wording

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ...core.batch_state import State

HEARTBEAT_S = 600
TICK_S = 1.0
MAX_REPRINTED = 100  # events that are printed again after the terminal's width has changed
MAX_EVENT_CHARS = 500  # characters
STYLES = {
    "failed": "red", "sent back": "yellow", "interrupted": "yellow", "waiting": "yellow", "paused": "yellow",
    "merged": "green", "ended": "bold", "stopping": "bold",
}  # fmt: skip


class Display:
    """Lines with times. `gone`: nothing can be shown any more. `clock` measures the time without a line, in seconds."""

    def __init__(self, stream: TextIO, clock: Callable[[], float] = time.monotonic) -> None:
        self.stream, self.clock = stream, clock
        self.gone = False
        self.printed_at: Optional[float] = None

    def event(self, kind: str, text: str) -> None:
        """Show an event: `started`, `done`, `failed`, `interrupted`, `sent back`, `merged`, `waiting`,
        `paused`, `stopping`, `ended`, `note`, `unreadable`.
        """
        self.say(wording.format_event(timestamps.now(), kind, one_line(text, MAX_EVENT_CHARS)), STYLES.get(kind, ""))

    def say(self, line: str, style: str = "") -> None:
        """Print a line that stays; `style` is for terminals."""
        self.printed_at = self.clock()
        encoding = self.stream.encoding or "utf-8"
        self._write(lambda: print(line.encode(encoding, "replace").decode(encoding), file=self.stream, flush=True))

    def refresh(self, state: State) -> None:
        """Print how the batch is doing, at first and after ten minutes without a line."""
        if self.printed_at is None or self.clock() - self.printed_at >= HEARTBEAT_S:
            self._write(lambda: self._print_view(view_model.View(state, timestamps.now())))

    def _print_view(self, view: view_model.View) -> None:
        kind = "running" if view.at_work else "stopped"
        self.say(wording.format_event(view.at, kind, wording.format_heartbeat(view)))

    def close(self) -> None:
        """Restore the terminal; the last display stays on it. May be called twice."""

    def _write(self, write: Callable[[], None]) -> None:
        """Call `write`; never again once it has failed."""
        if self.gone:
            return
        try:
            write()
        except BlockingIOError:
            pass  # another process made the terminal non-blocking: the next refresh is soon
        except OSError:
            self.gone = True
        except Exception as error:  # a bug in the drawing must not end the run
            self.gone = True
            if not self.stream.closed:
                cause = f"{type(error).__name__}: {one_line(str(error), MAX_EVENT_CHARS)}"
                with contextlib.suppress(OSError):
                    print(f"\nbatchctl: the display failed: {cause}. The run continues without it.", file=sys.stderr)


class LiveDisplay(Display):
    """A display by rich that stays at the bottom of the terminal.

    A thread redraws it each second: times advance while the driver waits, and a resize is noticed. The cursor is never
    hidden, so that nothing needs to be restored when the process is killed.
    """

    def __init__(self, stream: TextIO, environ: Mapping[str, str]) -> None:
        from rich.console import Console

        class Screen(Console):
            """A console that leaves the cursor alone and does not exit on a broken pipe."""

            def show_cursor(self, show: bool = True) -> bool:
                return False

            def on_broken_pipe(self) -> None:
                # rich calls it in an except block; its own version exits
                raise  # noqa: PLE0704

        super().__init__(stream)
        self.lock = threading.RLock()
        self.console = Screen(file=stream, force_terminal=True, no_color=bool(environ.get("NO_COLOR")))
        self.live: Any = None
        self.state: Optional[State] = None
        self.width = 0
        self.printed: deque[tuple[str, str]] = deque(maxlen=MAX_REPRINTED)
        self.over = threading.Event()
        self.ticker = threading.Thread(target=self._tick, name="display", daemon=True)
        self.ticker.start()

    def say(self, line: str, style: str = "") -> None:
        """Print a line above the display."""
        with self.lock:
            self.printed.append((line, style))
            self._write(lambda: self._print(line, style))

    def refresh(self, state: State) -> None:
        """Draw this state from now on."""
        with self.lock:
            self.state = state
            self._write(self._draw)

    def close(self) -> None:
        """Stop drawing; the last drawing stays on the terminal."""
        self.over.set()
        if self.ticker is not threading.current_thread():
            self.ticker.join()
        with self.lock:
            if self.live is not None:
                self._write(self._draw)
                live, self.live = self.live, None
                self._write(live.stop)

    def _tick(self) -> None:
        while not self.over.wait(TICK_S):
            with self.lock:
                self._write(self._draw)

    def _print(self, line: str, style: str) -> None:
        from rich.text import Text

        self._measure()
        self.console.print(Text(line, style=style))

    def _draw(self) -> None:
        from rich.console import Group
        from rich.live import Live as Drawing

        from . import rich_layout

        if self.state is None:
            return
        width, height = self._measure()
        drawn = Group(*rich_layout.layout(view_model.View(self.state, timestamps.now()), width, height))
        if self.live is None:
            self.live = Drawing(
                drawn, console=self.console, auto_refresh=False, redirect_stdout=False, redirect_stderr=False
            )
            self.live.start(refresh=True)
        else:
            self.live.update(drawn, refresh=True)

    def _measure(self) -> tuple[int, int]:
        """Set the console's size to that of the terminal and return it: (width, height).

        After a change of the width, clear the screen and print the last events again: the terminal has wrapped the old
        drawing to an unknown number of lines.
        """
        try:
            width, height = os.get_terminal_size(self.stream.fileno())
        except (OSError, ValueError):
            width, height = 0, 0
        width, height = width or 80, height or 24
        self.console.size = (width, height)
        if self.width and self.width != width and self.live is not None:
            self.width = width
            self.live.transient = True
            self.live.stop()
            self.live = None
            self.console.clear()
            for line, style in list(self.printed)[-height:]:
                self._print(line, style)
        self.width = width
        return width, height


def open_display(stream: TextIO, environ: Mapping[str, str]) -> Display:
    """Return a LiveDisplay for a UTF-8 terminal that can move its cursor, if rich is installed, else a Display."""
    is_utf8 = (stream.encoding or "").lower().replace("-", "") == "utf8"
    can_draw = stream.isatty() and is_utf8 and environ.get("TERM", "dumb") not in ("", "dumb", "unknown")
    return LiveDisplay(stream, environ) if can_draw and has_rich() else Display(stream)


def has_rich() -> bool:
    """Return whether rich can be imported, also from the user's packages, which `python3 -I` leaves out."""
    from ...features.data_formats import yaml_support

    before = list(sys.path)
    refused = tuple(os.path.join(os.path.realpath(folder), "") for folder in yaml_support.forbidden_folders())
    folders = yaml_support.package_folders()
    sys.path += [one for one in folders if not os.path.join(os.path.realpath(one), "").startswith(refused)]
    try:
        import rich.cells
        import rich.live
        import rich.text  # noqa: F401  # tests the import only
    except Exception:  # a broken optional package must not prevent the line display
        return False
    finally:
        sys.path[:] = before
    return True
