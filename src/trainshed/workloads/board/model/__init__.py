"""TensorFlow Lite files as values: read with every offset checked, never trusted."""

from __future__ import annotations
