"""Tell what programs generate or fetch from what people and models write, by name.

is_artefact("web/node_modules/left-pad/index.js")       True: nothing in it is unique
"""

from __future__ import annotations

import re

_WORDS = re.compile(r"\S+")
# Names of folders; when one of them is ignored, nothing in it is unique.
FOLDERS = frozenset(
    _WORDS.findall("""
    node_modules bower_components __pycache__ .venv venv .tox .nox .eggs .mypy_cache .ruff_cache .pytest_cache
    .hypothesis .cache .gradle .next .nuxt .parcel-cache .turbo .svelte-kit .terraform .ccls-cache .zig-cache
    target build dist out obj htmlcov coverage DerivedData Pods _build CMakeFiles .dart_tool .stack-work
    dist-newstyle elm-stuff
    """)
)
ENDINGS = (".pyc", ".pyo", ".o", ".obj", ".a", ".so", ".class", ".egg-info", ".DS_Store")


def is_artefact(path: str) -> bool:
    """Return whether an ignored path is, or is in, what a program made. (A project may track a folder `build`.)"""
    parts = path.rstrip("/").split("/")
    return not FOLDERS.isdisjoint(parts) or parts[-1].endswith(ENDINGS)
