"""Model adapters: from verified bytes to a Predictor, one module a framework."""
