"""What can be wrong with an index; every message says what to do."""

from __future__ import annotations

from itembed_tf.errors import UserError


class SearchIndexError(UserError, RuntimeError):
    """A folder that is not an index, one of another version, a damaged one, or encoders that do not belong to it."""
