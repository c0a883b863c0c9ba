"""Measure mstream against bare loops, and its script stage against another bridge."""
