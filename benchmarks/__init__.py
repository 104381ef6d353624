"""Programs that measure us against peers and limits; each prints its figure and its bar."""
