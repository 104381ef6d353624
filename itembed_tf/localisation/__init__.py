"""Phrase localisation (visual grounding): which region of an image a phrase refers to; Flickr30k Entities format."""
