"""How often something may happen: a bucket of tokens. Pure."""


class Allowance:
    """``most`` at once, and ``per_second`` on the average."""

    def __init__(self, most: int, per_second: float) -> None:
        self._most, self._per_second = most, per_second
        self._left = float(most)
        self._since = 0.0

    def take(self, now: float) -> bool:
        """Take one; whether there was one left. ``now`` is seconds on any clock that does not go back."""
        self._left = min(self._most, self._left + (now - self._since) * self._per_second)
        self._since = now
        if self._left < 1:
            return False
        self._left -= 1
        return True
