"""Read lists of features in Markdown, and tick their boxes."""
