"""What the encoders learned: similarity overlap, word importance."""
