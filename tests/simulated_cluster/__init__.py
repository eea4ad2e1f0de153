"""A small real cluster in memory: an API server over HTTP, the controllers of a Deployment, nodes whose pods answer.

It exists for what cannot be asked of a real one in seconds: a node that computes otherwise, a connection lost at
every request, a watch that is too old. The same scenarios run against a real one (`make test-cluster`).
"""
