"""The model agent: it stands beside one Triton server and keeps it at the list of wanted models."""
