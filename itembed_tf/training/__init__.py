"""Training: loss functions, optimiser, compiled step, stages, classes, checkpoints and the run directory."""
