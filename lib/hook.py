"""Entry of every hook: `hook.py EVENT [TOOL]`, the event's JSON on standard input. hooks/run starts it;
`batch_implement.hooks` does it.
"""

import os
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

from batch_implement.hooks import entry

entry.main(sys.argv[1], sys.argv[2] if len(sys.argv) > 2 else "")
