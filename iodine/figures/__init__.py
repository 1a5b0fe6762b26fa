"""Figures and summary images of what models make of scenes."""
