"""Where the project and its state file are, for scripts. See docs/library.md.

It gives the module `batch_implement.api.path_utils` itself: what a script patches here is patched there.
"""

import os
import sys

sys.path.insert(0, os.path.dirname(os.path.realpath(__file__)))  # lib/ may be linked into a project file by file
from batch_implement.api import path_utils

del sys.path[0]
sys.modules[__name__] = path_utils
