"""A local cluster of real processes: folder, configuration, start, faults, stop."""
