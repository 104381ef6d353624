"""The training set as the stages see it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from itembed_tf.data.batches import Items, TeacherEmbeddings


@dataclass(frozen=True)
class TrainSet:
    items: Items
    ids: np.ndarray  # int32 [m, L], word ids of the captions
    classes: np.ndarray  # int32 [G], class of each group
    checksums: Mapping[str, str] = field(default_factory=dict)  # of groups, vocabulary and classes, for checkpoints
    teacher: TeacherEmbeddings | None = None  # of the items

    def steps_per_epoch(self, batch_size: int) -> int:
        """Number of full batches; a batch larger than the training set is the whole training set."""
        return len(self.items.images) // min(batch_size, len(self.items.images))
