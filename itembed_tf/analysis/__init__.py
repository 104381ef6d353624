"""Analysis of trained encoders: similarity overlap, word importance, similarities before and after training."""
