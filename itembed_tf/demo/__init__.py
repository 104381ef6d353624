"""The search page: a small web server over indexes, and the page that it serves (``itembed demo``)."""
