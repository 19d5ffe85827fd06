"""The northbound faces: encryptors that know only ETSI GS QKD 014 or SKIP get keys from the cluster."""
