"""Captions to token ids: tokenizer and vocabulary (no TensorFlow); `text.graph` does the same inside a graph."""

from itembed_tf.text.tokenizer import LONGEST, RULES_VERSION, TOKENIZERS, tokenize
from itembed_tf.text.vocabulary import Vocabulary, build_vocabulary, load_vocabulary

__all__ = [
    "LONGEST",
    "RULES_VERSION",
    "TOKENIZERS",
    "Vocabulary",
    "build_vocabulary",
    "load_vocabulary",
    "tokenize",
]
