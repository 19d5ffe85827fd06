"""The quantum half of a link: source, fibre, eavesdropper, detectors."""
