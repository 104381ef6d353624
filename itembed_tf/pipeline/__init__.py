"""The steps of a training run from data set to report."""
