"""Puts what the tests share on the path; the tests themselves are no package."""

import sys
from pathlib import Path

HERE = Path(__file__).parent
sys.path[:0] = [str(HERE), str(HERE / "serve")]
