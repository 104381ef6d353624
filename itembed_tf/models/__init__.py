"""The two towers, their backbones and heads, and the dual-path model."""
