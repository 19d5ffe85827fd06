"""Benchmarks of the real consensus engine, run as processes on this machine."""
