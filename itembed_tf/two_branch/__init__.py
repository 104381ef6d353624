"""The system beside the paper: two-branch embeddings with structure-preserving losses, CCA, phrase localisation."""
