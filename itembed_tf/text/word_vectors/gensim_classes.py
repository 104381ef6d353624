"""gensim's classes, imported without a home folder too."""

from __future__ import annotations

import os
from pathlib import Path

try:
    Path.home()
except RuntimeError:  # a user id without an entry, as in containers; smart_open, which gensim imports, stops at it
    os.environ["HOME"] = "/"

from gensim.models import KeyedVectors, Word2Vec

__all__ = ["KeyedVectors", "Word2Vec"]
