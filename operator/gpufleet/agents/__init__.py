"""What runs beside workloads, with the operator up or down."""
