"""Scenarios by name: a promise, the faults that try to break it, and what is looked at besides."""
