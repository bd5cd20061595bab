"""What makes programs run again by themselves on this host: an inventory of it, and what changes in it."""
