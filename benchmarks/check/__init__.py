"""How long `bedside check` takes."""
