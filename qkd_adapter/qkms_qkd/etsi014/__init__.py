"""ETSI GS QKD 014 v1.1.1: the REST interface between an SAE and its KME."""
