"""Lists of features as files: lines, check boxes, YAML and JSON, each value with its place."""
