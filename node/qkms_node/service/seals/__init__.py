"""How a node's root store is sealed on its disk: one small interface, one module for each mode."""
