"""The two towers as Keras functional models: image and text, the backbones, the embedding head."""
