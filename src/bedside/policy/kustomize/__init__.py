"""Kustomizations, and the objects that are applied when they are built, each value with the line it comes from."""
