"""Draw docs/run.svg, the README's picture of a run, from a real one: `make picture`.

The run is the demo (demo.py) with the scripted model; what it prints is cut down to what tells the story and drawn by
rich as a terminal. No font, style or script comes from anywhere else: any monospaced font of the reader's will do.

    shown(output)    the lines of the picture, taken from what the demo printed
    drawn(lines)     the picture
    read(picture)    its lines again
    alike(lines)     what the lines of two runs have in common
"""

from __future__ import annotations

import contextlib
import io
import os
import re
import sys
import tempfile
from pathlib import Path
from xml.etree import ElementTree

from demo import REPOSITORY
from rich.console import Console
from rich.text import Text

PICTURE = REPOSITORY / "docs" / "run.svg"
WHOLE = ("1", "3")
"""The features that are shown step by step: one that nothing happens to, and the one in which a window is full."""
COLUMNS = 110
TITLE = "make demo: Claude Code at work on five features; a script plays the model"
STYLES = (
    (r"^\d\d:\d\d", "dim"),
    (r"^\$ .*", "bold"),
    (r"(?<=^\d\d:\d\d  )feature .*", "bold cyan"),
    (r"(?<=^\d\d:\d\d    )(compaction|reminder) .*", "yellow"),
    (r"(?<=^\d\d:\d\d    )done .*", "green"),
    (r"FAILED.*", "red"),
    (r"(tests: OK|VERDICT: good)$", "green"),
    (r"(?<=^ {3}\d  )done", "green"),
)
"""What is coloured, as a pattern, and how; the later wins."""
FORMAT = """\
<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" role="img" aria-labelledby="what">
<title id="what">A batch of five features from beginning to end, in a terminal</title>
<style>
.{unique_id}-matrix {{
  font: {char_height}px/{line_height}px ui-monospace, "SF Mono", Menlo, Consolas, "DejaVu Sans Mono", monospace;
}}
.{unique_id}-title {{ font: 17px system-ui, sans-serif; }}
{styles}
</style>
<defs>
<clipPath id="{unique_id}-clip-terminal"><rect width="{terminal_width}" height="{terminal_height}"/></clipPath>
{lines}
</defs>
{chrome}
<g transform="translate({terminal_x}, {terminal_y})" clip-path="url(#{unique_id}-clip-terminal)">
{backgrounds}
<g class="{unique_id}-matrix">
{matrix}
</g>
</g>
</svg>
"""


def picture_lines(output: str) -> list[str]:
    """Return the lines of the picture from what the demo printed, shortened."""
    lines: list[str] = []
    for block in (text.splitlines() for text in output.strip().split("\n\n")):
        feature = re.match(r"\d\d:\d\d  feature (\d+)", block[0])
        if block[0].startswith("$ cd"):
            kept = [re.sub(r"--plugin-dir .*", "--plugin-dir ~/batch-implement", block[1])]
        elif feature:
            kept = block if feature.group(1) in WHOLE else [block[0], block[-1]]
        elif re.match(r"\d\d:\d\d  batch ", block[0]):
            kept = block[:1]
        elif block[0] == "$ batchctl status":
            kept = block
        else:
            continue
        lines += [
            *([""] if lines else []),
            *(line if len(line) <= COLUMNS else f"{line[: COLUMNS - 1]}…" for line in kept),
        ]
    return lines


def draw_svg(lines: list[str]) -> str:
    """Return the picture as SVG."""
    console = Console(record=True, width=COLUMNS, file=io.StringIO(), force_terminal=True, color_system="truecolor")
    for line in lines:
        text = Text(line)
        for pattern, style in STYLES:
            text.highlight_regex(pattern, style)
        console.print(text, no_wrap=True, crop=True)
    picture = console.export_svg(title=TITLE, code_format=FORMAT, unique_id="run")
    return re.sub(r"(?<=>)(?=<text)", "\n", "\n".join(line.strip() for line in picture.splitlines())) + "\n"


def read_svg(picture: str) -> list[str]:
    """Return the lines that a picture shows, without blanks between two colours."""
    lines: dict[int, str] = {}
    for element in ElementTree.fromstring(picture).iter("{http://www.w3.org/2000/svg}text"):
        place = re.search(r"-line-(\d+)", element.get("clip-path", ""))
        if place:
            number = int(place.group(1))
            lines[number] = lines.get(number, "") + (element.text or "").replace("\xa0", " ")
    return [lines[number] for number in sorted(lines)]


def normalize_lines(lines: list[str]) -> list[str]:
    """Return lines comparable between runs: `*` for times and ids, no blanks, no empty lines."""
    changing = r"^\d\d:\d\d|batch-[\d-]{22,}|\b[0-9a-f]{12}\b|[\d.]+ s$"
    return list(filter(None, ("".join(re.sub(changing, "*", line).split()) for line in lines)))


def main() -> int:
    """Run the demo, write its picture, and return the demo's exit status."""
    import demo

    os.environ.pop("ANTHROPIC_API_KEY", None)
    output = io.StringIO()
    with tempfile.TemporaryDirectory(prefix="batch-implement-picture-") as folder, contextlib.redirect_stdout(output):
        status = demo.main(Path(folder))
    if status == 0:
        PICTURE.write_text(draw_svg(picture_lines(output.getvalue())), encoding="utf-8")
        print(f"{PICTURE}: {PICTURE.stat().st_size:,} bytes")
    return status


if __name__ == "__main__":
    sys.exit(main())
