"""What a model file is fetched from, as far as fetching has to know it."""

from typing import Protocol


class Source(Protocol):
    """One object in object storage. Each method asks for it anew; none keeps a connection that could be lost."""

    def size(self) -> int:
        """Return how many bytes it has.

        Raises:
            StorageUnavailable: Asking again may help.
            StorageRefused: It is not there, or not for us.
        """
        ...

    def read(self, start: int, end: int) -> memoryview:
        """Return its bytes from ``start`` up to ``end``, which is not among them.

        Raises:
            StorageUnavailable, StorageRefused: As `size`.
        """
        ...
