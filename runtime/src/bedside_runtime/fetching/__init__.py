"""Bringing a model file that lies in object storage to where the release wants it."""
