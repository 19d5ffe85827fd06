"""What happened in a run, and whether it may have happened so."""
