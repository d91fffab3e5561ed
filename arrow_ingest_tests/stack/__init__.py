"""What only the real systems can show: `make test-stack`."""
