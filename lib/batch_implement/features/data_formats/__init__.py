"""Read lists of features in YAML and JSON, and write them in YAML; values know their line and column."""
