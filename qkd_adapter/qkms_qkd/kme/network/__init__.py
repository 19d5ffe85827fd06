"""Keys between sites that no link joins: relayed hop by hop, each hop a one-time pad."""
