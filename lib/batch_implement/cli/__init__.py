"""The `batchctl` command line."""
