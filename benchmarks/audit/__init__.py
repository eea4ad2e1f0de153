"""`make bench-audit`: what a durable record costs, how fast a log is verified, how long a start behind one takes."""
