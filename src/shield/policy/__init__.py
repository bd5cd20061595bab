"""Policy: what the scores of events mean and what may follow from them. Pure: texts in, decisions out."""
