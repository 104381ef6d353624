"""What the text encoder computes of the captions that lessons need, before any lesson."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from itembed_tf.teaching.data import TeachingData, TeachingError
from itembed_tf.teaching.encoder import TrainableTextEncoder


@dataclass(frozen=True, eq=False)
class TextFeatures:
    """Inputs of the last linear layer, which lessons leave as they are, and its outputs before any lesson.

    Attributes:
        captions: inputs of the layer for training captions, float16 [m, F].
        caption_vectors: their embeddings, float16 [m, D], unit length.
        dev: inputs of the layer for captions of dev, float16 [k, F].
        dev_outputs: their embeddings before they get unit length, float16 [k, D].
    """

    captions: NDArray[np.float16]
    caption_vectors: NDArray[np.float16]
    dev: NDArray[np.float16]
    dev_outputs: NDArray[np.float16]


def text_features(data: TeachingData) -> TextFeatures:
    """Features of the captions of `data`; about two seconds for 9,000 captions on two cores.

    Raises:
        TeachingError: the weights are not those of the encoders that `data` names.
    """
    try:
        encoder = TrainableTextEncoder(data)
        contract = encoder.contract
    except (ValueError, TypeError) as error:  # a tower of other settings: more or fewer weights, or other shapes
        raise TeachingError(f"the text encoder cannot be built from the data of lessons: {error}") from None
    if contract != data.contract:
        raise TeachingError(
            f"the data of lessons does not give the encoders {data.contract[:16]} but {contract[:16]}: it is damaged, "
            "or its text encoder is of a kind that cannot be taught"
        )
    captions, outputs = encoder.features(data.captions)
    dev, dev_outputs = encoder.features(data.dev_captions)
    return TextFeatures(
        captions=captions.astype(np.float16),
        caption_vectors=(outputs / np.linalg.norm(outputs, axis=1, keepdims=True)).astype(np.float16),
        dev=dev.astype(np.float16),
        dev_outputs=dev_outputs.astype(np.float16),
    )
