"""The data plane: one run, from reading to acknowledging."""
