"""What a person looks at after a sweep: the note, the plots and the report of the sweep's run."""
