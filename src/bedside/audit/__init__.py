"""Reading prediction logs: which records, what they say, and in which form they leave."""
