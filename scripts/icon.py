"""Draw .claude-plugin/icon.png: a list with every box ticked, and the moon above it.

    python3 scripts/icon.py [FILE]

A shape is a function that says how far a point lies outside of it, in pixels (negative: inside); its edge is smoothed
over one pixel. The picture is 512 pixels wide and high, written by hand as PNG: the standard library has zlib, no more.
"""

from __future__ import annotations

import math
import struct
import sys
import zlib
from pathlib import Path
from typing import Callable

SIZE = 512
ICON = Path(__file__).resolve().parents[1] / ".claude-plugin" / "icon.png"

Colour = tuple[int, int, int]
Shape = Callable[[float, float], float]


def circle(x: float, y: float, radius: float) -> Shape:
    """A disc."""
    return lambda px, py: math.hypot(px - x, py - y) - radius


def stroke(*points: tuple[float, float], width: float) -> Shape:
    """A line through these points with round ends."""
    pairs = list(zip(points, points[1:]))

    def outside(px: float, py: float) -> float:
        nearest = math.inf
        for (ax, ay), (bx, by) in pairs:
            dx, dy = bx - ax, by - ay
            along = max(0.0, min(1.0, ((px - ax) * dx + (py - ay) * dy) / (dx * dx + dy * dy)))
            nearest = min(nearest, math.hypot(px - ax - along * dx, py - ay - along * dy))
        return nearest - width / 2

    return outside


def rounded_square(radius: float) -> Shape:
    """The whole picture with round corners."""
    half = SIZE / 2

    def outside(px: float, py: float) -> float:
        qx, qy = abs(px - half) - half + radius, abs(py - half) - half + radius
        return math.hypot(max(qx, 0.0), max(qy, 0.0)) + min(max(qx, qy), 0.0) - radius

    return outside


def without(shape: Shape, hole: Shape) -> Shape:
    """What is in `shape` and not in `hole`."""
    return lambda px, py: max(shape(px, py), -hole(px, py))


def layers() -> list[tuple[Shape, Colour]]:
    """What is drawn on the ground, from the bottom up."""
    drawn: list[tuple[Shape, Colour]] = [
        (without(circle(374, 122, 56), circle(348, 104, 50)), (255, 214, 120)),
        (circle(292, 84, 5), (255, 235, 190)),
        (circle(432, 60, 4), (255, 235, 190)),
        (circle(250, 132, 4), (255, 235, 190)),
    ]
    for y, end in ((230, 392), (320, 414), (410, 358)):
        drawn.append((circle(128, y, 36), (82, 205, 155)))
        drawn.append((stroke((112, y + 1), (124, y + 13), (146, y - 12), width=11), (16, 33, 62)))
        drawn.append((stroke((206, y), (end, y), width=28), (226, 232, 255)))
    return drawn


def ground(y: int) -> Colour:
    """The colour of the night sky at this height."""
    part = y / SIZE
    return (round(52 - 30 * part), round(58 - 26 * part), round(130 - 58 * part))


def pixels() -> bytes:
    """The picture as PNG scan lines: a filter byte and RGBA for each."""
    square, drawn = rounded_square(108), layers()
    lines = bytearray()
    for y in range(SIZE):
        lines.append(0)
        for x in range(SIZE):
            px, py = x + 0.5, y + 0.5
            colour: tuple[float, ...] = ground(y)
            for shape, paint in drawn:
                cover = 0.5 - shape(px, py)
                if cover > 0:
                    cover = min(cover, 1.0)
                    colour = tuple(below + (above - below) * cover for below, above in zip(colour, paint))
            alpha = max(0.0, min(1.0, 0.5 - square(px, py)))
            lines += bytes(round(channel) for channel in (*colour, 255 * alpha))
    return bytes(lines)


def png(lines: bytes) -> bytes:
    """A PNG file of RGBA scan lines."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", SIZE, SIZE, 8, 6, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(lines, 9)) + chunk(b"IEND", b"")


if __name__ == "__main__":
    Path(*sys.argv[1:2] or [ICON]).write_bytes(png(pixels()))
