"""Tools on schema texts."""
