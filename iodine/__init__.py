"""IODINE: multi-object representation learning with iterative variational inference."""
