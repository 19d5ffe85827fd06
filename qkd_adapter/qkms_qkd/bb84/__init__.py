"""Decoy-state BB84: closed-form rates, a link pulse by pulse, and what two parties distil from its clicks."""
