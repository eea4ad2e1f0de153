"""A release on disk: what it must hold (pure), and reading it (effect)."""
