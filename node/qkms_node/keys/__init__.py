"""The cryptography of the KMS: secrets, hierarchy, sealing, mixing. Pure.

Randomness, nonces and times are arguments. The one exception is
encapsulation, whose randomness the library draws itself (`qkms.kem`).
"""
