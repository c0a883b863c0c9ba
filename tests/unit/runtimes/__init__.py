"""Runtimes: messages, sealing, the page, placement, and runs through each of them."""
