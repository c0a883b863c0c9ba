"""The HTTP surface, over ASGI."""
