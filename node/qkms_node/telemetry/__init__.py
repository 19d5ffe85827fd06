"""What the node tells operators about itself: metrics, health over HTTP, traces. Decides nothing."""
