"""Phrase localisation: which box of a picture a phrase speaks of (Flickr30k Entities, and scenes in its format)."""
