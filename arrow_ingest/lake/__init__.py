"""DuckLake: record batches in, one snapshot per micro-batch out. DuckDB lives here and nowhere else."""
