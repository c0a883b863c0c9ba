"""Typed, backend-free access to what is kept."""
