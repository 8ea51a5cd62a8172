"""The code with one thing wrong, to see that a proof notices.

    lib = mutated(patch, folder)        a copy of lib/ with that patch; its path

A patch is a file of the package, a text that stands there once, and the text in its place. One that no longer fits is
an error: it is then no proof of anything.
"""

from __future__ import annotations

import shutil
from pathlib import Path

Patch = tuple[str, str, str]


def mutated(patch: Patch, folder: str) -> str:
    """A copy of lib/ below the folder with that patch; its path. Schemas and the like lie beside it as they should."""
    root = Path(folder, "mutated")
    shutil.rmtree(root, ignore_errors=True)
    repository = Path(__file__).resolve().parents[1]
    shutil.copytree(repository / "lib", root / "lib", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copytree(repository / "schemas", root / "schemas")
    file, old, new = patch
    path = root / "lib" / "batch_implement" / file
    text = path.read_text(encoding="utf-8")
    assert text.count(old) == 1, f"the patch no longer fits {file}: {old!r} stands there {text.count(old)} times"
    text = text.replace(old, new)
    if path.suffix == ".py":
        compile(text, file, "exec")  # code that cannot be imported fails every test, and proves nothing
    path.write_text(text, encoding="utf-8")
    return str(root / "lib")
