"""ETSI GS QKD 014 and SKIP as a server: the faces for SAEs, and the `Supply` of keys that stands behind them."""
