"""The image: documents and layouts of the OCI specifications, and the way to a registry and back."""
