"""Export of a run's encoders: SavedModels, LiteRT and ONNX files, their contract, and parity with the live model."""

from itembed_tf.export_layout import CONTRACT_FILE
from itembed_tf.exporting.card import CARD_FILE, write_card
from itembed_tf.exporting.contract import Contract, ExportError, read_contract
from itembed_tf.exporting.litert_export import LiteRTExport, MeasuredFile, export_litert
from itembed_tf.exporting.litert_files import write_litert_text_encoder
from itembed_tf.exporting.litert_from_export import litert_text_encoder
from itembed_tf.exporting.onnx_export import OnnxExport, export_onnx, write_onnx
from itembed_tf.exporting.pair import EncoderPair, encoder_pair, load_pair
from itembed_tf.exporting.parity import TOLERANCE, ParityError
from itembed_tf.exporting.pca import PcaResult
from itembed_tf.exporting.saved_model import SavedModels, write_saved_models
from itembed_tf.exporting.saved_model_export import SavedModelExport, export_saved_models

__all__ = [
    "CARD_FILE",
    "CONTRACT_FILE",
    "TOLERANCE",
    "Contract",
    "EncoderPair",
    "ExportError",
    "LiteRTExport",
    "MeasuredFile",
    "OnnxExport",
    "ParityError",
    "PcaResult",
    "SavedModelExport",
    "SavedModels",
    "encoder_pair",
    "export_litert",
    "export_onnx",
    "export_saved_models",
    "litert_text_encoder",
    "load_pair",
    "read_contract",
    "write_card",
    "write_litert_text_encoder",
    "write_onnx",
    "write_saved_models",
]
