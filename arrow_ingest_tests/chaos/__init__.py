"""Many seeded faults, each with its outcome asserted: `make chaos-ci` runs a selection, `make chaos` many seeds."""
