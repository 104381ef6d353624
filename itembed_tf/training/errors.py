"""The error of a run directory that cannot be used."""

from itembed_tf.errors import UserError


class RunError(UserError, RuntimeError):
    """A run directory that cannot be used as requested; the message says what to do."""
