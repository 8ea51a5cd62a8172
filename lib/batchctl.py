"""Run batchctl from a clone: `python3 lib/batchctl.py COMMAND`. See `batch_implement.cli.batchctl`."""

import os
import sys

if sys.version_info < (3, 9):
    sys.exit("batchctl: Python 3.9 or newer is needed; this is " + sys.version.split()[0] + " at " + sys.executable)

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

from batch_implement.cli.batchctl import main

if __name__ == "__main__":
    status = main(sys.argv[1:])
    os._exit(status)  # interpreter shutdown would take another 1.5 ms
