"""Entry of every hook: `hook.py EVENT [TOOL [ROOT PRIVATE]]`, the event's JSON on standard input. hooks/run starts it,
and says which project it found; most calls end with a glance, for the others `batch_implement.hooks` does the work.
"""

import posix
import sys

sys.path.insert(0, __file__.rpartition("/")[0])

from batch_implement.hooks import fast_path

event, tool, root, private = [*sys.argv[1:], "", "", ""][:4]
raw = None
try:
    raw = fast_path.read_payload()
    settled = fast_path.can_skip(event, tool, root, private, raw)
except Exception:
    settled = False  # the entry meets the same trouble, and tells of it
if not settled:
    import gc

    gc.disable()  # it would look through a large state again and again, in a process that ends at once
    from batch_implement.hooks import dispatch

    dispatch.main(event, tool, raw)
posix._exit(0)  # everything is said and flushed; the interpreter's own farewell takes longer than the glance
