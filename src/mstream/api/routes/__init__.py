"""Handlers, a module per part of the API."""
