"""The published schemas, and files checked against them."""
