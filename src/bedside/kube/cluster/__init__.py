"""The API server's client. Pure: `kubeconfig`, `kinds`, `requests`, `refusals`; sending is in `session` alone."""
