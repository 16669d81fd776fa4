"""The pipeline of one request, inside the Job."""

from __future__ import annotations
