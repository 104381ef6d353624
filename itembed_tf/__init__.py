"""itembed_tf: image-text embeddings, trained on captioned images.

`load` opens a trained run, `train` makes one; see docs/library.md. Importing the package imports nothing heavy.
"""

from __future__ import annotations

import importlib
import os
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from itembed_tf.api import ImageTextModel, Ranking, load, train

if os.path.expanduser("~") == "~":  # a user id without an entry, as in containers
    os.environ["HOME"] = "/"  # without a home folder, Keras writes into a folder "~" here, and gensim's import fails

__version__ = "0.2.0.dev0"
__all__ = ["ImageTextModel", "Ranking", "__version__", "load", "train"]


def __getattr__(name: str) -> Any:
    """The library on first use. `train` is the module of `itembed train`, which can be called as a function."""
    if name == "train":
        return importlib.import_module("itembed_tf.train")
    if name in __all__:
        return getattr(importlib.import_module("itembed_tf.api"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
