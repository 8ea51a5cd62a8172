"""A real browser for the tests of the report: one headless Chromium, driven over two pipes, standard library alone.

    with Browser(folder) as browser:
        browser.open(path, width=390, dark=True)
        browser.value("document.title"); browser.picture(); browser.requests

Its every way to a network is a proxy that is not there. `CHROMIUM` is its path, None where there is none.
"""

from __future__ import annotations

import base64
import json
import os
import select
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

CHROMIUM = shutil.which("chromium")
PATIENCE_S = 60.0
AS_3_AND_4 = """
import fcntl, os, sys
there, back = (fcntl.fcntl(int(word), fcntl.F_DUPFD, 10) for word in sys.argv[1:3])
os.dup2(there, 3), os.dup2(back, 4), os.close(there), os.close(back)
os.execv(sys.argv[3], sys.argv[3:])
"""  # where Chromium looks for its pipes


class Browser:
    """One Chromium with a page; `requests` are the addresses that the page asked for, `said` what its console says."""

    def __init__(self, folder: Path) -> None:
        self.requests: list[str] = []
        self.said: list[str] = []
        self._number, self._rest, self._session = 0, b"", ""
        there, self._out = os.pipe()
        self._in, back = os.pipe()
        words = [
            str(CHROMIUM), "--headless=new", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-extensions",
            "--disable-background-networking", "--disable-component-update", "--disable-sync", "--hide-scrollbars",
            "--disable-dev-shm-usage", "--proxy-server=http://127.0.0.1:9", "--remote-debugging-pipe",
            f"--user-data-dir={folder}/profile", "about:blank",
        ]  # fmt: skip
        self._log = (folder / "browser.log").open("wb")
        self._process = subprocess.Popen(
            [sys.executable, "-ISc", AS_3_AND_4, str(there), str(back), *words], pass_fds=(there, back),
            stdin=subprocess.DEVNULL, stdout=self._log, stderr=self._log, env={**os.environ, "HOME": str(folder)},
        )  # fmt: skip
        os.close(there)
        os.close(back)

    def __enter__(self) -> Browser:
        targets = self.call("Target.getTargets")["targetInfos"]
        target = next(entry["targetId"] for entry in targets if entry["type"] == "page")
        self._session = self.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Network", "Runtime", "Log"):
            self.call(f"{domain}.enable")
        return self

    def __exit__(self, *_: object) -> None:
        try:
            self._session = ""
            self.call("Browser.close")
            self._process.wait(PATIENCE_S)
        finally:
            self._process.kill()
            self._process.wait()
            for descriptor in (self._in, self._out):
                os.close(descriptor)
            self._log.close()

    def call(self, method: str, **parameters: Any) -> dict[str, Any]:
        """What the browser answers to a command of its protocol."""
        self._number += 1
        message: dict[str, Any] = {"id": self._number, "method": method, "params": parameters}
        if self._session:
            message["sessionId"] = self._session
        os.write(self._out, json.dumps(message).encode() + b"\0")
        while True:
            answer = self._next()
            if answer.get("id") == self._number:
                assert "error" not in answer, f"{method}: {answer['error']}"
                return answer["result"]

    def until(self, event: str) -> None:
        """Wait until the browser tells of `event`."""
        while self._next().get("method") != event:
            pass

    def _next(self) -> dict[str, Any]:
        deadline = time.monotonic() + PATIENCE_S
        while b"\0" not in self._rest:
            ready, _, _ = select.select([self._in], [], [], max(0.0, deadline - time.monotonic()))
            part = os.read(self._in, 1 << 20) if ready else b""
            assert part, "Chromium has stopped talking"
            self._rest += part
        line, _, self._rest = self._rest.partition(b"\0")
        message = json.loads(line)
        if message.get("method") == "Network.requestWillBeSent":
            self.requests.append(message["params"]["request"]["url"])
        if message.get("method") in ("Log.entryAdded", "Runtime.consoleAPICalled", "Runtime.exceptionThrown"):
            self.said.append(json.dumps(message["params"])[:500])
        return message

    def open(self, path: Path, *, width: int, height: int = 900, dark: bool = False) -> None:
        """Show a file on a screen of that many pixels."""
        self.call("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=False)
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self.call("Emulation.setEmulatedMedia", features=[scheme])
        self.call("Page.navigate", url=path.as_uri())
        self.until("Page.loadEventFired")

    def value(self, expression: str) -> Any:
        """The value of a JavaScript expression in the page, as JSON."""
        found = self.call("Runtime.evaluate", expression=expression, returnByValue=True)
        assert "exceptionDetails" not in found, found
        return found["result"].get("value")

    def picture(self, *, whole: bool = False) -> bytes:
        """The page as PNG: what is on the screen, or all of it."""
        return base64.b64decode(self.call("Page.captureScreenshot", captureBeyondViewport=whole, format="png")["data"])
