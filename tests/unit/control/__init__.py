"""The control plane, on virtual time and scripted runs."""
