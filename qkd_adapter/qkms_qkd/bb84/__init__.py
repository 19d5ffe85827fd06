"""Models of the BB84 protocol."""
