"""`qkms-agent`: keeps a pre-shared key of what protects traffic in step at both ends."""
