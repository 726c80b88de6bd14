"""A model's configuration as its author writes it; field by field what Triton's model_config.proto holds."""
