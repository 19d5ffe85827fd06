"""Physics of decoy-state BB84 links."""
