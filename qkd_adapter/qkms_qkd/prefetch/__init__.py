"""Keys drawn ahead of need: a store sealed on disk, and the link that is served from it."""
