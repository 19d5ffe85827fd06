"""A simulated KME: ETSI GS QKD 014 towards SAEs, decoy-state BB84 links towards other KMEs."""
