"""Ratios of speed, each measured side by side in one process; see ``python -m benchmarks``."""
