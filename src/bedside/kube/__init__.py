"""Kubernetes. Pure: `resources` (one file a kind of object), `plan` (the numbers), `writing` (YAML), `tree` (files)."""
