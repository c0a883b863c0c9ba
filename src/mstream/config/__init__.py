"""The configuration file: reading, shape and checks."""
