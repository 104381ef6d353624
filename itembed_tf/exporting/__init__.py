"""Encoders -> SavedModel and TFLite files, the contract file beside them, and the proof that they answer alike."""

from itembed_tf.exporting.contract import CONTRACT_FILE, contract_hash
from itembed_tf.exporting.encoders import run_encoders, sides, write_edge_encoder, write_encoders
from itembed_tf.exporting.litert import write_tflite_text_encoder
from itembed_tf.exporting.parity import TOLERANCE, ParityError
from itembed_tf.exporting.saved_model import write_saved_models

__all__ = [
    "CONTRACT_FILE",
    "TOLERANCE",
    "ParityError",
    "contract_hash",
    "run_encoders",
    "sides",
    "write_edge_encoder",
    "write_encoders",
    "write_saved_models",
    "write_tflite_text_encoder",
]
