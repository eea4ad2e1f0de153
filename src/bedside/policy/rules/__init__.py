"""One file a family. A rule is a function from the picture to the places where it is broken."""
