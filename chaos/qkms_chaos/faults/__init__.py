"""Networks between real processes that can be made to fail, and what makes them."""
