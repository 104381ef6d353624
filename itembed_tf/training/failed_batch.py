"""The batch of a step whose loss is not finite, written into the run directory."""

from __future__ import annotations

import json
from pathlib import Path
from typing import NoReturn

from itembed_tf.config import Stage
from itembed_tf.data.batches import Epoch, Items
from itembed_tf.files import write_atomically
from itembed_tf.training.checkpoints import checkpoint_files
from itembed_tf.training.errors import RunError
from itembed_tf.training.step_scalars import NotFinite

FILE = "failed_batch.json"


def stop_at(error: NotFinite, run: Path, stage: Stage, drawn: Epoch, items: Items, precision: str) -> NoReturn:
    """Write the images and captions of the step of `error` into the run directory, and end the training.

    Args:
        error: of the step.
        run: run directory.
        stage: that was trained.
        drawn: the samples of the epoch.
        items: the training set.
        precision: of the run, for advice.

    Raises:
        RunError: with the file, the last checkpoint and what can be changed.
    """
    step = min(error.step, len(drawn.images) - 1)
    images, captions = drawn.images[step], drawn.captions[step]
    content = {
        "schema": 1,
        "stage": stage.name,
        "epoch": error.epoch + 1,
        "step": error.step + 1,
        "found": error.what,
        "images": [
            {"number": int(n), "id": items.image_ids[n] if len(items.image_ids) else str(items.images[n])}
            for n in images
        ],
        "captions": [{"number": int(n), "text": items.captions[n]} for n in captions],
    }
    file = write_atomically(run / FILE, json.dumps(content, ensure_ascii=False, indent=1) + "\n")
    good = checkpoint_files(run)
    kept = f"the last good checkpoint is {good[0]}" if good else "there is no checkpoint yet"
    other = "a larger precision, " if precision == "mixed_float16" else ""
    raise RunError(
        f"stage {stage.name}, {error}. The training has stopped; {kept}, and {file} lists the images and captions of "
        f"this step. Where one of these is at fault, repair it; else train in a new run directory with {other}a lower "
        f"learning_rate, warmup_epochs, or clip_norm (now {stage.clip_norm:g}), which limits the norm of the gradients"
    ) from error
