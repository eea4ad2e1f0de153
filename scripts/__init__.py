"""Scripts that the Makefile and CI run; never installed."""
