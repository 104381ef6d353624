"""Text processing without TensorFlow: tokenizer and vocabulary. `text.graph` is the same inside a TensorFlow graph."""

from itembed_tf.text.tokenizer import MAX_BYTES, RULES_VERSION, TOKENIZERS, tokenize
from itembed_tf.text.vocabulary import Vocabulary, build_vocabulary, load_vocabulary, tokenize_captions

__all__ = [
    "MAX_BYTES",
    "RULES_VERSION",
    "TOKENIZERS",
    "Vocabulary",
    "build_vocabulary",
    "load_vocabulary",
    "tokenize",
    "tokenize_captions",
]
