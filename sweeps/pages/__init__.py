"""The pages of a sweep: the note, the plots and the report of its run."""
