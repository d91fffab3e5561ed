"""A day in an operator's life, in the running demo and a real browser: `make test-operate`."""
