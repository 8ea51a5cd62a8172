"""Read lists of features and plan a batch from them."""
