"""MIG: which devices there are (catalogue, data) and how each can be cut (geometry). Pure."""
