"""`qkms-kme simulate`: a link pulse by pulse, measured against theory."""
