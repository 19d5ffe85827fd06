"""SKIP (draft-cisco-skip-02): messages, client."""
