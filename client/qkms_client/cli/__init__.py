"""The `qkms` command line."""
