"""The node agent: says on its Node which pod holds which GPU or MIG slice."""
