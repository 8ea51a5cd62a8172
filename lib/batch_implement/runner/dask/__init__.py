"""Run features on a Dask cluster."""
