"""Protocols between the parts; what authors of plug-ins import."""
