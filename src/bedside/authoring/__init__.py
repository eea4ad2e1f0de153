"""A first bedside.toml from a model and a cohort: what can be seen is written down, what cannot is asked.

Pure: `columns` (what a CSV column holds), `selection` (which rows become golden cases), `texts` (what is written).
"""
