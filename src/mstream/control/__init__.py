"""The control plane: what should run, and seeing to it that it does."""
