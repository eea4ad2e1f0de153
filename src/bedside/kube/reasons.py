"""Values that carry the reason for what they are, into the comment beside them in the YAML."""


class Number(int):
    """A computed whole number."""

    why: str

    def __new__(cls, value: int, why: str) -> "Number":
        """Give ``value`` its reason, one line."""
        number = super().__new__(cls, value)
        number.why = why
        return number


class Text(str):
    """A computed text, as a quantity is."""

    __slots__ = ("why",)
    why: str

    def __new__(cls, value: str, why: str) -> "Text":
        """Give ``value`` its reason, one line."""
        text = super().__new__(cls, value)
        text.why = why
        return text
