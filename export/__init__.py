"""The training step for machines without TensorFlow, and its weights back."""
