"""Protocol of qkms, its stubs and labels and the hybrid session key schedule."""
