"""What users write and read: the kinds of `gpufleet.dev/v1alpha1` as pydantic models."""
