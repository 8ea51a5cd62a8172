"""Tests of the to-do list: `python3 -m unittest`."""

import contextlib
import io
import os
import tempfile
import unittest

import todo


class TodoTest(unittest.TestCase):
    """A test with an empty list of its own; `self.todo("add", "milk")` runs a command."""

    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.path = os.path.join(folder.name, "todo.json")

    def todo(self, *words):
        """Run a command; its exit status and everything it printed."""
        output = io.StringIO()
        with contextlib.redirect_stdout(output), contextlib.redirect_stderr(output):
            status = todo.main(["--file", self.path, *words])
        return status, output.getvalue()
