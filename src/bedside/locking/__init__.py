"""From the author's requirements to a hashed lock, and from the lock to an environment.

Pure: `lockfile`. Effects: `uv` (resolves and installs), `runtime_wheel` (where bedside-runtime comes from).
"""
