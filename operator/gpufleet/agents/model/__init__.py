"""The model agent: a sidecar that keeps one Triton server at the list of wanted models."""
