"""Bugs planted into a copy of the product, each of which a named scenario must find."""
