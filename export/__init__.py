"""Programs of a checkout; their code is in itembed_tf. `edge` is the kit for phones and browsers."""
