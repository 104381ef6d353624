"""Engines: the nearest rows of an index to query vectors, whichever library searches."""

from itembed_tf.index.engines.choice import Choice, choose_engine
from itembed_tf.index.engines.interface import Engine, View
from itembed_tf.index.engines.opening import open_engine
from itembed_tf.index.engines.sealing import update_derived

__all__ = ["Choice", "Engine", "View", "choose_engine", "open_engine", "update_derived"]
