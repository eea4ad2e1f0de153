"""The HTTP surface: routes, protocols, lifecycle, metrics, logs. Knows the service, which knows nothing of it."""
