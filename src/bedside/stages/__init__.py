"""Every verb as one function: composes specification, release, locking and the other rooms."""
