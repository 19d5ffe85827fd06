"""How a failed command ends: the text on stderr and the exit code. Pure.

Exit codes are for scripts: they say what to do next, not what went wrong. The
reason code on stderr says that.
"""

from qkms_client import errors as e

DONE = 0
FAILED = 1
"""The node failed inside, or the answer was not understood: see the message."""
USAGE = 2
"""The command line, the profile or the input is wrong: nothing was sent. Also click's own code."""
REFUSED = 3
"""A definite no: nothing changed, and the same command will be refused again."""
UNAVAILABLE = 4
"""The cluster could not serve the command now; nothing changed. Run it again later."""
UNKNOWN = 5
"""It may or may not have taken effect: run it again with the --request-id that is shown."""
UNTRUSTED = 6
"""A ciphertext, signature, MAC, session peer or audit chain failed its check. Do not use what came with it."""
SOME_FAILED = 7
"""Items of a batch failed; their lines of the output say which and why. The others are done."""

_UNTRUSTED = (e.CiphertextMalformed, e.CiphertextRejected, e.SessionRejected, e.BackupInvalid)
# What a command had read before it sent its request: a repetition must say the same.
_REPEATED = ("expected_primary_version", "expected_epoch")
_FAILED = (e.InternalError, e.AnswerNotUnderstood)

EXIT_CODES = """\
\b
Exit codes:
  0  done
  1  the node failed inside; the message has an incident number for its operator
  2  wrong usage, profile or input; nothing was sent
  3  refused; nothing changed, the same command will be refused again
  4  not available now; nothing changed, run it again later
  5  outcome unknown; run it again with the --request-id that is shown
  6  a ciphertext, signature, MAC, session peer or audit chain failed its check; do not use it
  7  some items of a --batch failed, their lines say why; the others are done"""


def exit_code(error: e.QkmsError) -> int:
    """The exit code of a command that ended with `error`."""
    if isinstance(error, e.OutcomeUnknown):
        return UNKNOWN
    if isinstance(error, (e.ProfileInvalid, e.ExportInvalid, e.PrivateKeyInvalid, e.RecoveryFailed)):
        return USAGE
    if isinstance(error, _UNTRUSTED):
        return UNTRUSTED
    if isinstance(error, (e.Retryable, e.SessionNotEstablished)):
        return UNAVAILABLE
    if isinstance(error, _FAILED) or type(error) is e.QkmsError:
        return FAILED
    return REFUSED


def explanation(error: e.QkmsError) -> str:
    """What happened and what to do next, in a few lines without a stack trace."""
    lines = [f"qkms: {error}"]
    lines += [f"  field {v.field}: {v.description}" for v in error.fields if v.description not in error.message]
    if error.endpoint:
        lines.append(f"  answered by: {error.endpoint}")
    incident = error.metadata.get("incident")
    if incident:
        lines.append(f"  incident: {incident}")
    if isinstance(error, e.OutcomeUnknown) and error.request_id:
        options = [f"--request-id {error.request_id}"]
        options += [f"--{n.replace('_', '-')} {error.metadata[n]}" for n in _REPEATED if n in error.metadata]
        lines.append(f"  what to do: run the same command with {' '.join(options)}")
    elif error.advice:
        lines.append(f"  what to do: {error.advice}")
    return "\n".join(lines)
