"""Figures: what they hold, what they are called, and that they can be drawn."""

from __future__ import annotations

import io
import json
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from tests.integration.mimaas.stub import MEMORY, SAMPLES

from mimaas import Results
from mimaas.comparison import Cell, Comparison
from mimaas.viz import plot_comparison, plot_layer_latency, plot_memory_map, plot_power_analysis

LAYERS = {
    "layers": [
        {"symbol": "conv", "kind": "CONV_2D", "time_s": 0.003, "macs": 500, "instructions": 900},
        {
            "symbol": "dw",
            "kind": "DEPTHWISE_CONV_2D",
            "time_s": 0.001,
            "instructions_per_mac": None,
        },
        {"symbol": "conv2", "kind": "CONV_2D", "time_s": 0.004, "macs": 700},
    ],
    "overhead": {"time_s": 0.002},
    "total": {"time_s": 0.010, "source": "estimated", "band": 0.15},
}
CELLS = tuple(
    Cell(
        model,
        board,
        n,
        Results(1024, 2048, 0.001 * (n + 1), 3000.0, 3.0 * (n + 1)),
        source="estimated",
        bands={"Time (ms)": 0.15},
    )
    for n, (model, board) in enumerate(
        (model, board) for model in ("kws", "vww") for board in ("nrf5340dk", "rpi_pico")
    )
)


def title(figure: Any) -> str:
    return f"{figure.layout.title.text} {figure.layout.title.subtitle.text}"


def test_power_has_23_traces_and_says_that_it_is_no_measurement(tmp_path: Path) -> None:
    path = tmp_path / "ppk2_samples.csv"
    path.write_text(SAMPLES)
    figure = plot_power_analysis(str(path), voltage_v=3.0)
    assert len(figure.data) == 23
    samples = pd.read_csv(path)
    power = samples.current_uA.mean() * 3.0
    energy = power * samples.time_ms.max() / 1000
    for said in (
        "estimated, not measured", f"{power / 1000:.2f} mW", f"{samples.time_ms.max():.2f} ms",
        f"{energy:.2f} µJ",
    ):  # fmt: skip
        assert said in title(figure)


SUMMARY = "segment_id,avg_current_uA,voltage_mV,source\n" + "".join(
    f"{n},{7024.5 + 10 * n},1800,estimated\n" for n in range(10)
)


def test_power_takes_the_voltage_of_its_own_summary(tmp_path: Path) -> None:
    """Without it a board of 1.8 V would be drawn with nearly twice its energy."""
    path = tmp_path / "ppk2_samples.csv"
    path.write_text(SAMPLES)
    (tmp_path / "ppk2_summary.csv").write_text(SUMMARY)
    power_mw = pd.read_csv(path).current_uA.mean() * 1.8 / 1000
    assert f"{power_mw:.2f} mW at 1.8 V ·" in title(plot_power_analysis(path))
    assert "at 3 V ·" in title(plot_power_analysis(path, voltage_v=3.0))


@pytest.mark.parametrize(
    "summary",
    [
        SUMMARY.replace("7024.5", "9024.5").replace("7034.5", "9034.5"),
        "\n".join(SUMMARY.splitlines()[:5]),
        SUMMARY.replace("voltage_mV", "other"),
        "",
        "\x00",
    ],
)
def test_power_believes_no_summary_of_another_run(tmp_path: Path, summary: str) -> None:
    path = tmp_path / "ppk2_samples.csv"
    path.write_text(SAMPLES)
    (tmp_path / "ppk2_summary.csv").write_text(summary)
    assert "at 3.3 V (supposed) ·" in title(plot_power_analysis(path))


def test_power_draws_the_samples_it_was_given() -> None:
    figure = plot_power_analysis(io.StringIO(SAMPLES))
    by_name = {trace.name: trace for trace in figure.data if trace.type == "scatter"}
    assert list(by_name["Inference 3"].y[:2]) == [7030, 7031]
    assert by_name["Mean of all inferences"].y[0] == pytest.approx(7045)
    band = by_name["± 1 standard deviation"]
    assert band.y[0] - band.y[-1] == pytest.approx(2 * pd.Series(range(0, 100, 10)).std(ddof=0))
    (bars,) = (trace for trace in figure.data if trace.type == "bar")
    assert sum(bars.x) == 500
    boxes = [trace for trace in figure.data if trace.type == "box"]
    assert [box.median[0] for box in boxes] == [7024.5 + 10 * n for n in range(10)]


def test_the_menu_shows_one_inference() -> None:
    figure = plot_power_analysis(io.StringIO(SAMPLES))
    (menu,) = figure.layout.updatemenus
    (button,) = (b for b in menu.buttons if b.label == "Inference 4")
    shown = [
        trace.name
        for trace, seen in zip(figure.data, button.args[0]["visible"], strict=True)
        if seen and trace.name.startswith("Inference")
    ]
    assert shown == ["Inference 4"] * 2  # its line and its box


@pytest.mark.parametrize(
    ("source", "said"),
    [
        (",measured", "measured on a board"),
        (",emulated", "emulated, not measured"),
        ("", "source not stated"),
    ],
)
def test_power_of_one_inference_with_and_without_source(source: str, said: str) -> None:
    header = "segment_id,time_ms,current_uA" + (",source" if source else "")
    rows = "".join(f"0,{n * 0.01:.2f},5000{source}\n" for n in range(9))
    figure = plot_power_analysis(io.BytesIO(f"{header}\n{rows}".encode()))
    assert len(figure.data) == 5
    assert said in title(figure)


def test_a_long_trace_makes_a_page_that_opens() -> None:
    n = 100_000
    samples = pd.DataFrame({"segment_id": 0, "time_ms": range(n), "current_uA": 1.0})
    samples.loc[54_321, "current_uA"] = 99.0
    file = io.StringIO(samples.to_csv(index=False))
    figure = plot_power_analysis(file)
    line = figure.data[0]
    assert len(line.x) <= 4100
    assert max(line.y) == 99.0  # what stands out is kept
    assert (line.x[0], line.x[-1]) == (0, n - 1)


@pytest.mark.parametrize("text", ["a,b\n1,2\n", "segment_id,time_ms,current_uA\n"])
def test_what_is_no_trace_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"no column|no samples"):
        plot_power_analysis(io.StringIO(text))


def test_layers_in_their_order(tmp_path: Path) -> None:
    (tmp_path / "layers.json").write_text(json.dumps(LAYERS))
    figure = plot_layer_latency(tmp_path / "layers.json")
    assert {trace.name: list(trace.x) for trace in figure.data} == {
        "CONV_2D": [3.0, 4.0], "DEPTHWISE_CONV_2D": [1.0],
    }  # fmt: skip
    assert figure.layout.yaxis.categoryarray == ("conv", "dw", "conv2")
    for said in (
        "estimated, not measured",
        "10 ms ± 15% in 3 layers",
        "conv2, 40%",
        "layers 20.0%",
    ):
        assert said in title(figure)
    assert "<br>500 multiply-accumulates" in figure.data[0].customdata[0]
    bare_layers = dict(LAYERS)
    del bare_layers["total"]
    bare = plot_layer_latency(io.StringIO(json.dumps(bare_layers)))
    assert "source not stated" in title(bare)


@pytest.mark.parametrize("found", [{}, [], {"layers": []}, {"layers": [{"name": "x"}]}])
def test_what_is_no_report_of_layers_is_refused(found: object) -> None:
    with pytest.raises(ValueError, match="no report of layers"):
        plot_layer_latency(io.StringIO(json.dumps(found)))


def test_the_memory_map_holds_every_node(tmp_path: Path) -> None:
    (tmp_path / "rom.json").write_text(json.dumps(MEMORY))
    figure = plot_memory_map(tmp_path / "rom.json")
    (found,) = figure.data
    assert dict(zip(found.labels, found["values"], strict=True)) == {
        "Root": 300, "model": 200, "conv": 150, "dense": 50, "libc": 100,
    }  # fmt: skip
    assert len(set(found.ids)) == 5
    assert set(found.parents) == {"", *(i for i in found.ids if i in found.parents)}
    assert "Flash: 300 B" in title(figure)
    with (tmp_path / "rom.json").open("rb") as file:
        assert "Flash" in title(plot_memory_map(file))
    assert "Memory" in title(plot_memory_map(io.StringIO(json.dumps(MEMORY))))


@pytest.mark.parametrize(
    "found", [{}, [], {"symbols": {"name": "Root"}}, {"symbols": {"size": 1, "children": [3]}}]
)
def test_what_is_no_memory_report_is_refused(found: object) -> None:
    with pytest.raises(ValueError, match="no memory report"):
        plot_memory_map(io.StringIO(json.dumps(found)))


def test_a_comparison_is_one_figure() -> None:
    failed = Cell("big", "rpi_pico", error="RAM: 272000 bytes needed, 262144 there")
    figure = plot_comparison(Comparison((*CELLS, failed)))
    assert len(figure.data) == 12  # three models in four panels
    assert list(figure.data[0].x) == [1.0, 2.0]
    assert list(figure.data[0].text) == ["1 ±15%", "2 ±15%"]
    assert "estimated, not measured" in title(figure)
    assert "without results: big on rpi_pico" in title(figure)
    assert plot_comparison(Comparison((failed,))).data


def test_without_the_extra_the_message_names_it() -> None:
    code = "import sys; sys.modules['plotly'] = None; import mimaas.viz"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False, timeout=60
    )
    assert done.returncode == 1
    assert 'pip install "mimaas[viz]"' in done.stderr


def test_a_browser_draws_every_figure(tmp_path: Path) -> None:
    browser = shutil.which("chromium")
    if browser is None:
        pytest.skip("no chromium to draw the figures")
    figures = [
        plot_power_analysis(io.StringIO(SAMPLES)),
        plot_layer_latency(io.StringIO(json.dumps(LAYERS))),
        plot_memory_map(io.StringIO(json.dumps(MEMORY))),
        Comparison(CELLS).figure(),
    ]
    page = tmp_path / "figures.html"
    parts = [
        figure.to_html(full_html=False, include_plotlyjs=n == 0) for n, figure in enumerate(figures)
    ]
    page.write_text('<meta charset="utf-8">' + "".join(parts))
    done = subprocess.run(
        [
            browser, "--headless", "--no-sandbox", "--disable-gpu",
            f"--user-data-dir={tmp_path / 'profile'}", "--virtual-time-budget=5000",
            "--dump-dom", page.as_uri(),
        ],
        capture_output=True, text=True, timeout=100, check=False,
    )  # fmt: skip
    drawn = re.findall(r'<text class="gtitle"[^>]*>.*?</text>', done.stdout, re.DOTALL)
    assert len(drawn) == len(figures), done.stderr[-2000:]
    for figure, text in zip(figures, drawn, strict=True):
        assert figure.layout.title.text.removeprefix("<b>").removesuffix("</b>") in text
