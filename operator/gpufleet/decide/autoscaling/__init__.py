"""How many servers a service should have: signals → policy → behavior → clamps."""
