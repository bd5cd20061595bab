"""Which package a file belongs to, and what its content should be: read from the databases of package managers."""
