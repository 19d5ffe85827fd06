"""The cryptography of the KMS: secrets, hierarchy, sealing, mixing. Pure.

Randomness, nonces and times are arguments. The exception is what the libraries
draw themselves: encapsulation, OAEP, signatures, and the key pairs of ECDSA, RSA
and SLH-DSA.
"""
