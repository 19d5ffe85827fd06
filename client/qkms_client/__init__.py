"""SDK and command line of qkms."""
