"""Renderings of findings: text for people, JSON for scripts, SARIF for code hosts. Pure: values in, text out."""
