"""From bench to bedside: ship a trained clinical model, and prove that what runs is what was validated."""

__version__ = "0.1.0"
