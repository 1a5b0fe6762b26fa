"""What a trained model is worth: measures, comparisons, segmentations, reports."""
