"""Planning: from what a person named, a file or issues, to a batch in an order that works."""
