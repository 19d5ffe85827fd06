"""The parts of a node, built from the bottom up: foundation, background, faces; and what health says of them."""
