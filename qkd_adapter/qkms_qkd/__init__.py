"""Links to QKD devices for qkms and a simulated KME."""
