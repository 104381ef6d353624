"""The classifier of the instance loss, shared by both towers: one row of weights for each class."""

from __future__ import annotations

from typing import Any

import keras
import tensorflow as tf
from keras import layers, ops


class SharedClassifier(layers.Layer):
    """Classifier shared by both towers: W f (+ b), paper eq. 5-8; with `scale` s a cosine classifier, s * cos(w, f).

    Class weights [C, D] and logits are float32 under every dtype policy: a softmax over 100,000 classes needs it. Each
    class is one row, so that the gradient of drawn classes has their rows alone.
    """

    def __init__(
        self, classes: int, size: int, scale: float, bias: bool, *, initializer: Any, sampled: int = 0, **kwargs: Any
    ):
        super().__init__(dtype="float32", **kwargs)
        self.classes, self.scale, self.sampled = classes, scale, sampled
        self.class_weights = self.add_weight((classes, size), initializer, name="class_weights")
        self.bias = self.add_weight((classes,), "zeros", name="bias") if bias else None
        self.built = True

    def call(self, features: dict[str, Any], drawn: Any = None) -> dict[str, Any]:
        """Logits of the features [n, D] of each branch, [n, C]; of the classes `drawn` int [K] alone, [n, K]."""
        weights, bias = _rows(self.class_weights, drawn), _rows(self.bias, drawn)
        if self.scale:
            features = {side: ops.normalize(f) for side, f in features.items()}
        logits = {side: tf.matmul(f, weights, transpose_b=True) for side, f in features.items()}
        if self.scale:  # s cos(w, f) = s (f / |f|) . w / |w|: |w| divides the products, not a copy of all class weights
            length = ops.sqrt(ops.maximum(ops.sum(ops.square(weights), axis=1), keras.config.epsilon() ** 2))
            logits = {side: product * (self.scale / length) for side, product in logits.items()}
        return logits if bias is None else {side: product + bias for side, product in logits.items()}

    def save_own_variables(self, store: Any) -> None:
        """Save the weights in class order."""
        store["class_weights"] = self.class_weights
        if self.bias is not None:
            store["bias"] = self.bias

    def load_own_variables(self, store: Any) -> None:
        """Load saved weights. Those of a version before this layer are a kernel [D, C] and a bias, "0" and "1"."""
        names = store.keys()
        self.class_weights.assign(store["class_weights"] if "class_weights" in names else store["0"][:].T)
        if self.bias is not None:
            self.bias.assign(store["bias" if "bias" in names else "1"])


def _rows(variable: keras.Variable | None, drawn: Any) -> Any:
    """All rows of a variable, or the drawn ones.

    `ops.take` would read the whole variable first, and an update of rows in place would then copy it.
    """
    if variable is None:
        return None
    return variable.value if drawn is None else tf.gather(variable.value, drawn)
