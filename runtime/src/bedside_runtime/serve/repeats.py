"""Heads of predictions that came before: who keeps a connection sends the same bytes in front of every body.

What a parser says about a head rests on its bytes alone, so it is not asked about the same bytes twice. Only what is
beyond doubt is remembered: head and body came whole and alone, and every line ends as RFC 9112 has it. Whether the
request may go on is decided anew each time.
"""

from typing import Final

from msgspec import Struct

from bedside_runtime.serve.heads import Fields, Head
from bedside_runtime.serve.predicting import Route

_LONGEST: Final = 1_024
"""Bytes of a head that is remembered."""

_MOST: Final = 256
"""Heads that are remembered at once: they differ in the length of the body, and from client to client."""

_END: Final = b"\r\n\r\n"
_DOUBTFUL: Final = frozenset({b"expect", b"transfer-encoding"})
"""Fields that ask for more than an answer, or say in another way where the body ends."""


class Repeat(Struct, frozen=True):
    """What follows from the bytes of one head.

    Attributes:
        found: Whose request it is.
        target: As it came.
        fields: All header fields.
        head: The first of each name.
        length: Bytes of the body.
    """

    found: Route
    target: bytes
    fields: Fields
    head: Head
    length: int


class Repeats:
    """The heads of one port. They may carry credentials, so they are forgotten soon."""

    def __init__(self) -> None:
        self._known: dict[bytes, Repeat] = {}

    def find(self, data: bytes) -> Repeat | None:
        """Return what follows from the head of ``data``, if it came before and ``data`` ends with its body."""
        begins = data.find(_END) + len(_END)
        known = self._known.get(data[:begins])
        return known if known is not None and len(data) - begins == known.length else None

    def remember(self, data: bytes, body: bytes, found: Route, target: bytes, fields: Fields, head: Head) -> None:
        """Remember what a parser said about ``data``, the one request that it took whole.

        Args:
            data: As it came.
            body: Of it, the body.
            found: Whose request it is.
            target: Request target.
            fields: Header fields, names in lower case.
            head: The first of each name.
        """
        begins = data.find(_END) + len(_END)
        key = data[:begins]
        if (
            begins <= _LONGEST
            and data[begins:] == body
            and key.count(b"\n") == key.count(b"\r\n")
            and _DOUBTFUL.isdisjoint(head)
        ):
            if len(self._known) >= _MOST:
                self.forget()
            self._known[key] = Repeat(found, target, fields, head, len(body))

    def forget(self) -> None:
        """Remember nothing any more."""
        self._known.clear()
