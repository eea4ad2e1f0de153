"""Puts the tests' shared matrix on the path; the tests themselves are no package."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
