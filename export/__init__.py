"""Programs: a run directory -> artefacts on disk."""
