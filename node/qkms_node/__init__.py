"""The qkms cluster node."""
