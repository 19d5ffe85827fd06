"""Local clusters of real processes and fault experiments for qkms."""
