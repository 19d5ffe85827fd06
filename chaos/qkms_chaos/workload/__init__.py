"""Loads on a cluster of real processes, what they recorded, and whether that keeps the promises."""
