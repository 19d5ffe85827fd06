"""ETSI GS QKD 014 v1.1.1: messages, client."""
