"""Deploying, as text files: `scenarios/*.txt`, one a story. `language` reads them, `world` carries them out."""
