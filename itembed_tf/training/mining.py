"""Hard-negative mining: captions of a batch replaced by the most similar ones of other groups (released code)."""

from __future__ import annotations

import keras
import tensorflow as tf

from itembed_tf.models.replicas import gathered, replica_count, replica_number
from itembed_tf.training.losses import hardest_candidate

Batch = dict[str, tf.Tensor]


def with_mined_captions(network: keras.Model, batch: Batch) -> tuple[tf.Tensor, tf.Tensor]:
    """Ids and classes of the captions, those of the second half replaced by hard negatives (released code).

    Row h + i becomes the candidate with the highest cosine to image i, both in inference mode, with its own class.
    """
    if replica_count() > 1:
        return _on_replicas(network, batch)
    half = batch["classes"].shape[0] // 2
    image = next(name for name in network.input if name.startswith("image"))
    no_logits = {"drawn": tf.zeros([0], tf.int32)} if "drawn" in network.input else {}
    out = network({image: batch[image][:half], "ids": batch["candidate_ids"]} | no_logits, training=False)
    chosen = hardest_candidate(
        out["image_embedding"], out["text_embedding"], batch["candidate_classes"], batch["classes"][:half]
    )
    ids = tf.concat([batch["ids"][:half], tf.gather(batch["candidate_ids"], chosen), batch["ids"][2 * half :]], 0)
    mined = tf.gather(batch["candidate_classes"], chosen)
    return ids, tf.concat([batch["classes"][:half], mined, batch["classes"][2 * half :]], 0)


def _on_replicas(network: keras.Model, batch: Batch) -> tuple[tf.Tensor, tf.Tensor]:
    """As on one device with the batches of all replicas: each encodes its images and its share of the candidates.

    The second half of the whole batch is replaced; each replica returns its own rows.
    """
    own, candidates = batch["classes"].shape[0], batch["candidate_ids"].shape[0]
    half, share = own * replica_count() // 2, candidates // replica_count()
    image = next(name for name in network.input if name.startswith("image"))
    no_logits = {"drawn": tf.zeros([0], tf.int32)} if "drawn" in network.input else {}
    first = replica_number() * share
    ids = tf.ensure_shape(batch["candidate_ids"][first : first + share], [share, *batch["ids"].shape[1:]])
    out = network({image: batch[image], "ids": ids} | no_logits, training=False)
    chosen = hardest_candidate(
        gathered(out["image_embedding"])[:half],
        gathered(out["text_embedding"]),
        batch["candidate_classes"],
        gathered(batch["classes"])[:half],
    )
    anchor = replica_number() * own + tf.range(own) - half  # of each row of this replica
    mined = tf.logical_and(anchor >= 0, anchor < half)
    place = tf.gather(chosen, tf.where(mined, anchor, 0))
    ids = tf.where(mined[:, None], tf.gather(batch["candidate_ids"], place), batch["ids"])
    return ids, tf.where(mined, tf.gather(batch["candidate_classes"], place), batch["classes"])
