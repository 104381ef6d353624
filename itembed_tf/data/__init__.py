"""Datasets: readers, image decoding and augmentation, batches, shards, unreadable images, cached features."""
