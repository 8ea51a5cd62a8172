"""In a wheel this is `batch_implement` below the plugin's lib/: no second copy, but a pointer to the package around it.

The hooks and `bin/batchctl` put the lib/ beside them on the path, and nothing else: so site-packages stays off theirs.
"""

import os

__path__ = [os.path.abspath(os.path.join(os.path.dirname(__file__), *[os.pardir] * 3))]

from batch_implement.__init__ import __version__ as __version__
