"""What an image is made of."""

from typing import Final

MEDIA_TYPE: Final = "application/vnd.cyclonedx+json"
"""Artifact and media type of a CycloneDX document, as scanners look for it beside an image."""
