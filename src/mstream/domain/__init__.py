"""Values of the problem; no I/O."""
