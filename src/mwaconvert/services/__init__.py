"""Faces of the control plane: routes that translate, nothing more."""
