"""Several parts together, and real processes and servers."""
