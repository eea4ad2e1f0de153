"""The command line: one module a verb, rendering only. What a verb does stands in `stages`."""
