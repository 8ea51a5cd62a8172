"""Entry point of every hook: `hook.py EVENT [TOOL [ROOT PRIVATE]]`, with the event's JSON on standard input.

hooks/run starts it and passes the project that it found. `fast_path` ends most tool calls; `dispatch` handles the rest.
"""

import posix
import sys

sys.path.insert(0, __file__.rpartition("/")[0])
import batch_implement

# Register the packages that a hook uses: to load their `__init__.py`, which hold no code, makes a Stop 4 % slower.
for name in ("hooks", "store", "base", "core", "validation"):
    package = sys.modules[f"batch_implement.{name}"] = type(sys)(f"batch_implement.{name}")
    package.__path__ = [f"{batch_implement.__path__[0]}/{name}"]  # in a wheel not beside this file

from batch_implement.hooks import fast_path  # noqa: E402

event, tool, root, private = [*sys.argv[1:], "", "", ""][:4]
raw = None
try:
    raw = fast_path.read_payload()
    is_done = fast_path.can_skip(event, tool, root, private, raw)
except Exception:
    is_done = False  # dispatch meets the same error and reports it
if not is_done:
    import gc

    gc.disable()  # it would scan a large state again and again, in a process that ends at once
    from batch_implement.hooks import dispatch

    dispatch.main(event, tool, raw)
posix._exit(0)  # skip interpreter shutdown: it costs more than the fast path; all output is flushed
