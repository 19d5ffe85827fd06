"""The replicated state machine: commands in, state and outcomes out.

Pure: no clock, no randomness, no IO, no logging. Time is stamped by the
leader and arrives with the log entry; key material is drawn and wrapped
before a command is proposed. Equal commands in equal order give equal state
on every node, byte for byte.
"""
