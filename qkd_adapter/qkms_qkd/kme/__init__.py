"""qkms-kme: a simulated key management entity with simulated QKD links."""
