"""Captions written by a language model from what a manifest says of an image: asked for, checked, kept."""
