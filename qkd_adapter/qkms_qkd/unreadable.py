"""What msgspec raises over bytes that are no message of the form that was asked for."""

import msgspec

UNREADABLE = (msgspec.MsgspecError, UnicodeDecodeError, RecursionError)
"""msgspec does not declare the last two: text that is not UTF-8, and nesting past the interpreter's limit."""
