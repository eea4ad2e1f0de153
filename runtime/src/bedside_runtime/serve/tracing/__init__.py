"""Where the time of a request goes: OpenTelemetry spans, where the release asks for them."""
