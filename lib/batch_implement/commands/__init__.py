"""One function for each command; command line, slash commands and runner call these."""
