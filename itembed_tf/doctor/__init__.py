"""Dataset checks: near-duplicate images, leakage between splits, misleading captions, unreadable images."""
