"""A rollout: what the cluster shows as one picture, why it stands still in plain words, following it to its end."""
