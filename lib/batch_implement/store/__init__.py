"""Read and write the state: the only package that writes it."""
