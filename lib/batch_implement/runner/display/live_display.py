"""What a person at a terminal, or a log, is shown while a batch is driven.

    shown = display.open(sys.stdout, os.environ)
    shown.event("started", "feature 4 of 20 (...): attempt 1")     something happened
    shown.refresh(state)                                            how things stand; as often as wanted
    shown.close()

`Live` at a terminal where rich is installed: one display that stays at the bottom, events above it. Else `Plain`: a
line with the time for each event, and one every ten minutes when nothing happens. Times are UTC.

Nothing that goes wrong here is an error for the caller: neither a terminal that was closed nor a fault in the drawing
may end the night. `gone` says that nothing is shown any more. Texts may hold anything: they are shown without control
characters, and nothing in them is taken for a style.
"""

from __future__ import annotations

import os
import sys
import threading
import time
from collections import deque
from typing import Any, Callable, Mapping, Optional, TextIO

from ...base import timestamps
from ...base.text import one_line
from . import view_model, wording
from .view_model import View

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ...core.batch_state import State

HEARTBEAT_S = 600
TICK_S = 1.0
MAX_REPRINTED = 100  # events that are printed again after the terminal's width has changed
MAX_EVENT_CHARS = 500  # characters
STYLES = {
    "failed": "red", "sent back": "yellow", "interrupted": "yellow", "waits": "yellow", "paused": "yellow",
    "merged": "green", "ended": "bold", "stopping": "bold",
}  # fmt: skip


class Display:
    """What `Live` and `Plain` have in common. `gone`: nothing can be shown any more."""

    def __init__(self, stream: TextIO) -> None:
        self.stream = stream
        self.gone = False

    def event(self, kind: str, text: str) -> None:
        """Tell that something happened: `started`, `done`, `failed`, `interrupted`, `sent back`, `merged`, `waits`,
        `paused`, `stopping`, `ended`, `note`, `unreadable`.
        """
        self.say(wording.format_event(timestamps.now(), kind, one_line(text, MAX_EVENT_CHARS)), STYLES.get(kind, ""))

    def refresh(self, state: State) -> None:
        """Show how things stand by this state and the work trees that it names."""
        self._write(lambda: self.show(view_model.build_view(state, timestamps.now())))

    def say(self, line: str, style: str = "") -> None:
        """Print a line that stays."""
        raise NotImplementedError

    def show(self, seen: View) -> None:
        """Show how things stand."""
        raise NotImplementedError

    def close(self) -> None:
        """Leave the terminal as it was, what was shown last on it. May be called twice."""

    def _write(self, write: Callable[[], None]) -> None:
        """Do what writes to the stream; once that has failed, never again."""
        if self.gone:
            return
        try:
            write()
        except BlockingIOError:
            pass  # somebody else on this terminal made it non-blocking: the next time is soon
        except OSError:
            self.gone = True
        except Exception as error:  # a fault in a drawing must not end the night
            self.gone = True
            if not self.stream.closed:
                told = f"{type(error).__name__}: {one_line(str(error), MAX_EVENT_CHARS)}"
                print(f"\nbatchctl: the display has broken: {told}. The batch goes on without it.", file=sys.stderr)


class LineDisplay(Display):
    """Lines with time stamps. `ticking` is the clock that counts the silence, in seconds."""

    def __init__(self, stream: TextIO, ticking: Callable[[], float] = time.monotonic) -> None:
        super().__init__(stream)
        self.ticking = ticking
        self.said_at: Optional[float] = None

    def say(self, line: str, style: str = "") -> None:
        """Print a line; `style` is for terminals."""
        self.said_at = self.ticking()
        encoding = self.stream.encoding or "utf-8"
        self._write(lambda: print(line.encode(encoding, "replace").decode(encoding), file=self.stream, flush=True))

    def show(self, seen: View) -> None:
        """Print how things stand, when that was not said yet or nothing was for ten minutes."""
        if self.said_at is None or self.ticking() - self.said_at >= HEARTBEAT_S:
            self.say(
                wording.format_event(seen.at, "at work" if seen.at_work else "standing", wording.format_heartbeat(seen))
            )


class LiveDisplay(Display):
    """A display by rich that stays at the bottom of the terminal. Needs rich; `open` looks whether it is there.

    A thread draws it again each second: the times go on while the driver waits, and a terminal that got another size
    is drawn anew. The cursor is never hidden, so that nothing is to be put right, whatever ends this process.
    """

    def __init__(self, stream: TextIO, environ: Mapping[str, str]) -> None:
        from rich.console import Console

        class Screen(Console):
            """A console that leaves the cursor alone, and the process when nobody reads any more."""

            def show_cursor(self, show: bool = True) -> bool:
                return False

            def on_broken_pipe(self) -> None:
                # rich calls it where it has caught the error; its own would end the process
                raise  # noqa: PLE0704

        super().__init__(stream)
        self.lock = threading.RLock()
        self.console = Screen(file=stream, force_terminal=True, no_color=bool(environ.get("NO_COLOR")))
        self.live: Any = None
        self.seen: Optional[View] = None
        self.width = 0
        self.said: deque[tuple[str, str]] = deque(maxlen=MAX_REPRINTED)
        self.over = threading.Event()
        self.ticker = threading.Thread(target=self._tick, name="display", daemon=True)
        self.ticker.start()

    def say(self, line: str, style: str = "") -> None:
        """Print a line above the display."""
        with self.lock:
            self.said.append((line, style))
            self._write(lambda: self._print(line, style))

    def show(self, seen: View) -> None:
        """Draw this from now on."""
        with self.lock:
            self.seen = seen
            self._write(self._draw)

    def close(self) -> None:
        """Stop drawing; the last drawing stays."""
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

        if self.seen is None:
            return
        width, height = self._measure()
        drawn = Group(*rich_layout.layout(view_model.advance_view(self.seen, timestamps.now()), width, height))
        if self.live is None:
            self.live = Drawing(
                drawn, console=self.console, auto_refresh=False, redirect_stdout=False, redirect_stderr=False
            )
            self.live.start(refresh=True)
        else:
            self.live.update(drawn, refresh=True)

    def _measure(self) -> tuple[int, int]:
        """Width and height of the terminal, which the console is told. After a change of the width the screen is begun
        anew: the terminal has wrapped what stood there, and nobody knows to how many lines.
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
            for line, style in list(self.said)[-height:]:
                self._print(line, style)
        self.width = width
        return width, height


def open_display(stream: TextIO, environ: Mapping[str, str]) -> Display:
    """The display for this output: `Live` at a terminal that can draw, where rich is installed; else `Plain`."""
    return LiveDisplay(stream, environ) if can_draw(stream, environ) and has_rich() else LineDisplay(stream)


def can_draw(stream: TextIO, environ: Mapping[str, str]) -> bool:
    """Whether the output is a terminal that can move its cursor and shows more than ASCII."""
    try:
        terminal = stream.isatty()
    except ValueError:
        return False
    encoding = (stream.encoding or "").lower().replace("-", "")
    return terminal and encoding == "utf8" and environ.get("TERM", "dumb") not in ("", "dumb", "unknown")


def has_rich() -> bool:
    """Whether rich can be imported. Looked for where PyYAML is, too: `python3 -I` leaves out the user's packages."""
    from ...features import yaml_support

    before = list(sys.path)
    refused = [os.path.join(os.path.realpath(folder), "") for folder in yaml_support.forbidden_folders()]
    for folder in yaml_support.package_folders():
        real = os.path.join(os.path.realpath(folder), "")
        if folder not in sys.path and os.path.isdir(folder) and not real.startswith(tuple(refused)):
            sys.path.append(folder)
    try:
        import rich.cells
        import rich.live
        import rich.text  # noqa: F401  # only whether it is there
    except Exception:  # what is broken in an optional package is no reason not to show lines
        return False
    finally:
        sys.path[:] = before
    return True
