"""The library: load a run or an export, embed images and texts, rank, evaluate; train. See docs/library.md."""

from itembed_tf.api.inputs import ImageInput
from itembed_tf.api.loading import load, train
from itembed_tf.api.model import ImageTextModel, Ranking

__all__ = ["ImageInput", "ImageTextModel", "Ranking", "load", "train"]
