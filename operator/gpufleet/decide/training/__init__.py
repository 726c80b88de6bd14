"""Training: a TrainingJob becomes one Indexed Job per attempt of its gang."""
