"""`qkms-chaos demo`: a tour of a fresh cluster in which every step is checked."""
