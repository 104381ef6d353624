"""Encoders -> SavedModel and TFLite files, the contract file beside them, and the proof that they answer alike."""

from itembed_tf.artifacts.contract import CONTRACT_FILE, contract_hash
from itembed_tf.artifacts.encoders import run_encoders, sides, write_edge_encoder, write_encoders
from itembed_tf.artifacts.parity import TOLERANCE, ParityError
from itembed_tf.artifacts.saved_model import write_saved_models
from itembed_tf.artifacts.tflite import write_tflite_text_encoder

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
