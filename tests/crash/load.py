"""Writes without end on a file system that is about to be cut off.

    python -S -s load.py LIB MODE ROOT FIRST

Each write has a number, FIRST and on; once it has returned, its number goes to standard output. MODE:

    update      the batch at ROOT, whose window has grown to that number
    archive     a batch `batch-NUMBER` at ROOT, made and put away
"""

from __future__ import annotations

import itertools
import os
import random
import sys
import time


def main(lib: str, mode: str, root: str, first: int) -> None:
    """Write until the end."""
    sys.path.insert(0, lib)
    import writes
    from batch_implement.core import lease

    writes.load_everything()
    store = writes.store_of("", root)
    pause = random.Random(first)
    for number in itertools.count(first):
        if mode == "update":
            store.update(lambda state, number=number: lease.record_context_tokens(state, number))
        else:
            store.create(writes.new_batch(f"batch-{number}"))
            store.archive("aborted")
        os.write(1, b"%d\n" % number)
        time.sleep(pause.choice((0, 0, 0.001, 0.004)))


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], sys.argv[3], int(sys.argv[4]))
