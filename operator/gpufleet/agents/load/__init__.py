"""Load: inference requests to a Triton server at a known rate or concurrency, with what came of them."""
