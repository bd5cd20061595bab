"""What happened, in one sentence for each category of event."""
