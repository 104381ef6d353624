"""Training: losses, optimiser, compiled step, stages, classes, checkpoints, the run directory."""
