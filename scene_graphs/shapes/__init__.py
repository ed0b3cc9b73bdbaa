"""Oriented boxes and convex polygons: what the predicates measure."""
