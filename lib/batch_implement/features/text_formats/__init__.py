"""Read lists of features in plain text, todo.txt, reStructuredText, AsciiDoc and Org."""
