"""The state of a batch, for scripts. See docs/library.md.

It gives the module `batch_implement.api.batch_state_manager` itself: what a script patches here is patched there.
"""

import os
import sys

sys.path.insert(0, os.path.dirname(os.path.realpath(__file__)))  # lib/ may be linked into a project file by file
from batch_implement.api import batch_state_manager

del sys.path[0]
sys.modules[__name__] = batch_state_manager
