"""Names inside a folder of exported encoders, shared by the exporters, the servers and the clients.

``EXPORTS/<encoder>/<version>/`` is a SavedModel; `CONTRACT_FILE` is written to ``EXPORTS/`` and to every version's
`EXTRA_ASSETS`, where TF Serving looks for `WARMUP_FILE` too.
"""

from __future__ import annotations

IMAGE_ENCODER, TEXT_ENCODER = "image_encoder", "text_encoder"
ENCODERS = (IMAGE_ENCODER, TEXT_ENCODER)
DEFAULT_SIGNATURE, IDS_SIGNATURE = "serving_default", "ids"
CONTRACT_FILE = "encoders.json"
EXTRA_ASSETS = "assets.extra"
WARMUP_FILE = "tf_serving_warmup_requests"
TEACHING_FILE = "teaching.npz"  # beside `CONTRACT_FILE`: what lessons need (`itembed_tf.teaching`)


def litert_name(encoder: str, precision: str) -> str:
    """Name of the LiteRT file of an encoder at a precision, such as ``text_encoder.float32.tflite``."""
    return f"{encoder}.{precision}.tflite"


def onnx_name(encoder: str) -> str:
    """Name of the ONNX file of an encoder, such as ``text_encoder.onnx``."""
    return f"{encoder}.onnx"


def is_version(name: str) -> bool:
    """Whether a folder's name is a version for TF Serving: ASCII digits of a number that fits into an int64."""
    return name.isascii() and name.isdigit() and len(name.lstrip("0")) < 19
