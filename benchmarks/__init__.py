"""The field side by side on this machine. See docs/architecture/18-benchmarks.md."""
