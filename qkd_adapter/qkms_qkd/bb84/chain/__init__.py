"""The classical half of a link: from clicks to a secret key, between two parties over an authenticated line."""
