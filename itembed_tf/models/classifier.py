"""The classifier of the instance loss, shared by both towers: one row of weights for each class."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import tensorflow as tf
from keras import layers, ops

from itembed_tf.models.class_rows import assign_share, local_rows
from itembed_tf.models.class_share import rows_of_share
from itembed_tf.models.replicas import gathered, local_replicas, replica_number

NO_CLASS = -1e9  # logit of the rows that fill up the last share: exp() of it is 0 in float32


class SharedClassifier(layers.Layer):
    """Classifier shared by both towers: W f (+ b), paper eq. 5-8; with `scale` s a cosine classifier, s * cos(w, f).

    Class weights [C, D] and logits are float32 under every dtype policy: a softmax over 100,000 classes needs it. Each
    class is one row, so that the gradient of drawn classes has their rows alone.

    With `shards` of more than 1, one for each replica of a distributed training, the variables of a replica have the
    rows of its share of the classes alone, in class order: [ceil(C / shards), D]. The logits in a step are those of all
    rows of the batch, of all replicas, for the classes of the share (`itembed_tf.training.sharded_softmax`).
    """

    def __init__(
        self,
        classes: int,
        size: int,
        scale: float,
        bias: bool,
        *,
        initializer: Any,
        sampled: int = 0,
        shards: int = 1,
        **kwargs: Any,
    ):
        super().__init__(dtype="float32", **kwargs)
        self.classes, self.scale, self.sampled, self.shards = classes, scale, sampled, shards
        rows, first = rows_of_share(classes, shards), initializer if shards == 1 else "zeros"
        self.class_weights = self.add_weight((rows, size), first, name="class_weights")
        self.bias = self.add_weight((rows,), "zeros", name="bias") if bias else None
        self.built = True
        self.assigned: dict[str, np.ndarray] = {}  # until the other processes have their shares of it
        if shards > 1:
            self.local = local_replicas()
            for variable in self.variables:
                variable.sharded_classes = classes
            if initializer != "zeros":
                with tf.device("CPU"):
                    self.assign_classes(initializer((classes, size), "float32").numpy())

    def assign_classes(self, weights: np.ndarray, bias: np.ndarray | None = None) -> None:
        """Set the weights [C, D] and, where it is given, the bias [C], in class order.

        Where other processes have shares, this sets those of this process; see
        `itembed_tf.training.shared_weights.share_weights`.
        """
        for variable, values in ((self.class_weights, weights), (self.bias, bias)):
            if values is None or variable is None:
                continue
            if self.shards == 1:
                variable.assign(values)
                continue
            assign_share(variable, values, self.local)
            if len(self.local) < self.shards:
                self.assigned[variable.name] = values

    def in_class_order(self) -> dict[str, np.ndarray]:
        """The weights [C, D] and the bias [C] by their names, in class order."""
        found = {v.name: v.numpy() if self.shards == 1 else local_rows(v)[: self.classes] for v in self.variables}
        return found | dict(self.assigned)

    def call(self, features: dict[str, Any], drawn: Any = None) -> dict[str, Any]:
        """Logits of the features [n, D] of each branch, [n, C]; of the classes `drawn` int [K] alone, [n, K].

        In a step with shards: [replicas * n, ceil(C / shards)].
        """
        weights, bias = _rows(self.class_weights, drawn), _rows(self.bias, drawn)
        if self.shards > 1:
            features = {side: gathered(f) for side, f in features.items()}
        if self.scale:
            features = {side: ops.normalize(f) for side, f in features.items()}
        logits = {side: tf.matmul(f, weights, transpose_b=True) for side, f in features.items()}
        if self.scale:  # s cos(w, f) = s (f / |f|) . w / |w|: |w| divides the products, not a copy of all class weights
            length = ops.sqrt(ops.maximum(ops.sum(ops.square(weights), axis=1), keras.config.epsilon() ** 2))
            logits = {side: product * (self.scale / length) for side, product in logits.items()}
        logits = logits if bias is None else {side: product + bias for side, product in logits.items()}
        return self._of_classes(logits) if self.shards * self.class_weights.shape[0] > self.classes else logits

    def _of_classes(self, logits: dict[str, Any]) -> dict[str, Any]:
        """The logits, those of the rows behind the last class `NO_CLASS`."""
        rows = self.class_weights.shape[0]
        is_class = replica_number() * rows + tf.range(rows) < self.classes
        return {side: tf.where(is_class, of_side, NO_CLASS) for side, of_side in logits.items()}

    def save_own_variables(self, store: Any) -> None:
        """Save the weights in class order."""
        for name, values in self.in_class_order().items():
            store[name] = values

    def load_own_variables(self, store: Any) -> None:
        """Load saved weights. Those of a version before this layer are a kernel [D, C] and a bias, "0" and "1"."""
        names = store.keys()
        weights = store["class_weights"][:] if "class_weights" in names else store["0"][:].T
        bias = None if self.bias is None else store["bias" if "bias" in names else "1"][:]
        self.assign_classes(weights, bias)


def _rows(variable: keras.Variable | None, drawn: Any) -> Any:
    """All rows of a variable, or the drawn ones.

    `ops.take` would read the whole variable first, and an update of rows in place would then copy it.
    """
    if variable is None:
        return None
    return variable.value if drawn is None else tf.gather(variable.value, drawn)
