"""One suite per port, and one table of implementations for each."""
