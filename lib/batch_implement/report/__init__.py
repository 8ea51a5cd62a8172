"""What a user or a script is shown of a batch: status lines and reports."""
