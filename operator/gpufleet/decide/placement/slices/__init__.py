"""Which slice × servers holds a service's objective at least cost (design 0009). Pure."""
