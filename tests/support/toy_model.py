"""A tiny dual-path model with the structure of the real one."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np

from itembed_tf.models.dual_path import dual_path_model
from itembed_tf.models.heads import embedding_head
from itembed_tf.models.text_tower import text_tower

SIZE, LENGTH, D, CLASSES, WORDS = 6, 5, 8, 4, 9


def small_image_tower() -> keras.Model:
    """An image tower whose backbone is one convolution with batch norm."""
    image = keras.Input((SIZE, SIZE, 3), name="image")
    x = keras.layers.Conv2D(7, 3, name="conv")(image / 255.0)
    x = keras.layers.ReLU()(keras.layers.BatchNormalization(name="conv_bn")(x))
    backbone = keras.Model(image, keras.layers.Flatten()(x[:, ::3]), name="backbone")
    features = keras.Input((backbone.output.shape[-1],), name="features")
    head = keras.Model(
        features,
        embedding_head(features, head="fc-bn", hidden=D, dropout=0.0, embedding_size=D, name="image"),
        name="image_head",
    )
    image = keras.Input((SIZE, SIZE, 3), name="image")
    return keras.Model(image, head(backbone(image)), name="image_tower")


def small_text_tower(blocks: tuple[int, ...] = (1, 1)) -> keras.Model:
    return text_tower(
        vocabulary_size=WORDS,
        length=LENGTH,
        embedding_size=D,
        variant="released",
        depth=50,
        width=0.05,
        word_width=6,
        stem=0,
        blocks=blocks,
        strides=(),
        zero_gamma=False,
        mask_padding=False,
        pooling="variant",
        head="variant",
        hidden=D,
        dropout=0.0,
    )


def dual_path(text_blocks: tuple[int, ...] = (1, 1), **changes: Any) -> keras.Model:
    keras.utils.set_random_seed(3)
    settings = {"classes": CLASSES, "classifier": "random", "scale": 0.0, "bias": False, "dropout": 0.0, "relu": False}
    settings |= {"start": "random", "softmax": "full", "sampled_classes": CLASSES}
    model = dual_path_model(small_image_tower(), small_text_tower(text_blocks), **(settings | changes))
    random = np.random.default_rng(1)
    for variable in model.variables:  # random statistics, as after training
        if variable.name in ("moving_mean", "beta"):
            variable.assign(random.normal(0, 0.4, variable.shape))
    return model
