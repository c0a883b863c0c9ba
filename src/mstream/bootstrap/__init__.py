"""Composition root: the only place that builds concrete objects and fixes start and stop order."""
