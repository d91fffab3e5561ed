"""Arrow IPC producers: for users, demos, tests and benchmarks."""
