"""Overload, bad clients and restarts against real processes; BEDSIDE_LOAD=long for the long form."""

import os

LONG = os.environ.get("BEDSIDE_LOAD") == "long"
