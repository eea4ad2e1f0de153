"""bedside.toml: everything that an author decides, read and checked at once.

Pure: `document` (shape), `rules` (sense), `positions` (lines), `units` (UCUM). Effect: `loading` (files).
"""

from bedside.spec.loading import EnvironmentSpec, GoldenSpec, ModelSpec, Spec, load

__all__ = ["EnvironmentSpec", "GoldenSpec", "ModelSpec", "Spec", "load"]
