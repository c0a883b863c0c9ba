"""HTTP only: routes, wire shapes, access rules."""
