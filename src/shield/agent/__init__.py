"""Agent: puts the stages together and runs them, live (`watch`) or over recorded events (`replay`)."""
