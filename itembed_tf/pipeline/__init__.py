"""The steps of a training run from dataset to report."""
