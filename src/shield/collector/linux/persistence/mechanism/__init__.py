"""One module for each mechanism that starts programs: its `PLACES`, and how the files there are read."""
