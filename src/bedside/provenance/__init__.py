"""What is known about an image and a release, who says so, and whether that is enough. See docs/architecture."""
