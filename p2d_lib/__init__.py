"""Dermoscopic images from words, and an honest measure of whether they help."""
