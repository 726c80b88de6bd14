"""What others see of a decision: status, Events, metrics, logs."""
