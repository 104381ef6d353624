"""itembed_tf: captioned pictures in, two encoders out."""

__version__ = "0.1.0"
