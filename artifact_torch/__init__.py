"""A PyTorch training framework in which everything around the loop is a plugin."""
