"""Readers, generators and metrics for scenes of several objects with ground-truth masks."""
