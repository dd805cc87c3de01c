"""Draws time and bytes against the size of two like lists; run in the peers' environment.

``OUT`` is an SVG file; standard input holds a JSON array of series.
"""

from __future__ import annotations

import json
import sys

import matplotlib as mpl  # type: ignore[import-not-found]

mpl.use("svg")
mpl.rcParams["svg.hashsalt"] = "psishare"

import matplotlib.pyplot as plt  # type: ignore[import-not-found]  # noqa: E402

PANELS = (("wall_s", "seconds, file to file"), ("bytes", "bytes sent"))


def main() -> None:
    """Draw."""
    series = json.load(sys.stdin)
    figure, axes = plt.subplots(1, 2, figsize=(13, 6.5), constrained_layout=True)
    for axis, (key, label) in zip(axes, PANELS, strict=True):
        for each in series:
            ours = each["name"].startswith("psishare")
            axis.plot(
                each["sizes"],
                each[key],
                marker="o" if ours else ".",
                linewidth=2.4 if ours else 1.1,
                label=each["name"],
            )
        axis.set_xscale("log", base=2)
        axis.set_yscale("log")
        axis.set_xlabel("rows a side")
        axis.set_ylabel(label)
        axis.grid(visible=True, which="major", alpha=0.3)
    figure.legend(*axes[0].get_legend_handles_labels(), loc="outside lower center", ncol=3)
    figure.savefig(sys.argv[1], metadata={"Date": None})


if __name__ == "__main__":
    main()
