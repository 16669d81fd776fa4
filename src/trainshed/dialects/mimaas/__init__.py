"""MIMaaS's API: a model is sent for a board, and figures come back.

**Invariant:** every error is ``{message}`` with a status that its clients know; ids are whole
numbers.
**Boundary:** as every dialect: ``http/``, ``usecases/``, views and domain values.
"""

from __future__ import annotations
