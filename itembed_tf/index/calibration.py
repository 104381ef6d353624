"""The calibration that an index stores, ready for many vectors."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from itembed_tf.retrieval.calibration import Calibration, parse_calibration
from itembed_tf.retrieval.hubness import Bank


def fast_calibration(content: bytes | None, contract: str) -> Calibration | None:
    """A calibration with banks of float32, which are not converted again for every batch; None without content.

    Raises:
        CalibrationError: damaged, or of other encoders than those of `contract`.
    """
    if content is None:
        return None
    calibration = parse_calibration(content, contract, "the calibration in the index")
    captions, images = (
        Bank(bank.vectors.astype(np.float32), bank.groups) for bank in (calibration.captions, calibration.images)
    )
    return replace(calibration, captions=captions, images=images)
