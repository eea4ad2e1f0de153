"""Image references taken apart."""


def split_image(reference: str) -> tuple[str, str, str]:
    """Name, tag and digest of an image reference; missing ones are empty."""
    name, _, digest = reference.partition("@")
    head, colon, tag = name.rpartition(":")
    return (head, tag, digest) if colon and "/" not in tag else (name, "", digest)
