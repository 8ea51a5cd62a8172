"""The morning report: as plain data, as HTML and Markdown, as files."""
