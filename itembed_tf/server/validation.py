"""Is every item of a request one that the model can take? Named by its place before anything runs."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from itembed_tf.server.image_headers import count_pixels
from itembed_tf.server.limits import Limits, invalid

PICTURES = "image_bytes"  # the input that holds pictures; all other strings are sentences
_NAMED = 16  # bad items that an error names


def check_items(inputs: Mapping[str, np.ndarray], limits: Limits) -> list[int]:
    """Refuse bad items; give what each item will cost to run: pixels of a picture, 1 otherwise.

    Raises:
        Refused: inputs of different lengths, more items than may wait, strings that are no picture, pictures and
            sentences above the limits; the message names the places of the bad items.
    """
    lengths = {len(values) for values in inputs.values()}
    if len(lengths) != 1:
        raise invalid(f"inputs have different numbers of items: { {name: len(v) for name, v in inputs.items()} }")
    (items,) = lengths
    if items > limits.max_queue:
        raise invalid(f"the request has {items} items, larger than the {limits.max_queue} that may wait; send fewer")
    costs, faults = [1] * items, {}
    for name, values in inputs.items():
        if values.dtype != object:
            continue
        for i, value in enumerate(values.tolist() if values.ndim == 1 else []):
            try:
                costs[i] = _cost(name, value, limits)
            except ValueError as error:
                faults[f"{name}[{i}]"] = str(error)
    if faults:
        named = "; ".join(f"{place} {why}" for place, why in list(faults.items())[:_NAMED])
        raise invalid(named + (f"; and {len(faults) - _NAMED} more" if len(faults) > _NAMED else ""))
    return costs


def _cost(name: str, value: bytes, limits: Limits) -> int:
    if name != PICTURES:
        if len(value) > limits.max_text:
            raise ValueError(f"is a text of {len(value):,} bytes; at most {limits.max_text:,} are taken")
        return 1
    pixels = count_pixels(value)
    if pixels > limits.max_pixels:
        raise ValueError(f"is a picture of {pixels:,} pixels; at most {limits.max_pixels:,} are taken")
    return pixels
