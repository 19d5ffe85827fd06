"""Whether a KME keeps to its protocol: tables of cases, one runner, a report."""
