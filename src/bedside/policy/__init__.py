"""What makes a clinical deployment unsafe: one typed picture of everything named, and rules over it."""
