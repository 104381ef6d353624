"""Backbones, heads, image tower, text tower, and the dual-path model."""
