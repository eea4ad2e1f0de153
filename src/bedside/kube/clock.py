"""The seconds in which a rollout is measured."""

import time


class Clock:
    """Seconds since this machine was started, also asleep; ``speed`` times as many for a simulated cluster."""

    def __init__(self, speed: float = 1.0) -> None:
        self._speed = speed

    def now(self) -> float:
        """Return the seconds since some fixed moment."""
        return time.clock_gettime(getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)) * self._speed

    def real(self, seconds: float) -> float:
        """Return how long ``seconds`` of this clock last."""
        return seconds / self._speed

    def sleep(self, seconds: float) -> None:
        """Wait."""
        time.sleep(self.real(seconds))
