"""What is measured, each in a process of its own: ours, what one would use instead, and the limits."""
