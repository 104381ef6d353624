"""Is a data set clean? Pictures that are there twice, captions that say the same or nothing, splits that leak."""
