"""Benchmarks: each prints what it measured, as ratios where a machine could matter."""
