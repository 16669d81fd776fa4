"""Interactive figures of what a request leaves; needs the extra: ``pip install "mimaas[viz]"``.

Every function takes a path or an open file and returns a Plotly figure: ``show()`` opens it,
``write_html(path)`` keeps it.
"""

from __future__ import annotations

try:
    import pandas as _pandas  # noqa: F401
    import plotly as _plotly  # noqa: F401
except ImportError as error:
    raise ImportError(f'mimaas.viz needs {error.name}: pip install "mimaas[viz]"') from error

from mimaas.viz.comparison import plot_comparison
from mimaas.viz.layers import plot_layer_latency
from mimaas.viz.memory import plot_memory_map
from mimaas.viz.power import plot_power_analysis

__all__ = ["plot_comparison", "plot_layer_latency", "plot_memory_map", "plot_power_analysis"]
