"""The client's calls, each defined once for the sync and the async client."""
