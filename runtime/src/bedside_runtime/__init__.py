"""The serving runtime of bedside: what runs inside the production image."""

__version__ = "0.1.0"
