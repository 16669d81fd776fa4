"""Whether a model can run on a board, known before anything is built."""

from __future__ import annotations
