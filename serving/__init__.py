"""Programs of a checkout; their code is in itembed_tf."""
