"""One file a kind of object: its type, and how it is made from the plan."""
