"""The model's parts, one concept a file."""
