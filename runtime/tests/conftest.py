"""Puts what the tests share on the path; the tests themselves are no package."""

import sys
from pathlib import Path

from hypothesis import settings

HERE = Path(__file__).parent
sys.path[:0] = [str(HERE), str(HERE / "serve")]

settings.register_profile("any machine", settings(), deadline=None)  # a busy one takes its time with an example
settings.load_profile("any machine")
