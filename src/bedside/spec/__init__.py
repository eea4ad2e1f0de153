"""bedside.toml: everything that an author decides, read and checked at once.

Pure: `document` (shape), `rules` (sense), `positions` (lines), `units` (UCUM). Effect: `loading` (files).
"""

from bedside.spec.loading import Deployment, EnvironmentSpec, GoldenSpec, ModelSpec, Spec, load, load_deployment

__all__ = ["Deployment", "EnvironmentSpec", "GoldenSpec", "ModelSpec", "Spec", "load", "load_deployment"]
