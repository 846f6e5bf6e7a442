"""Draw the comparison: python draw.py comparison.json DIRECTORY."""

import json
import sys
from pathlib import Path
from statistics import median

import matplotlib.pyplot as plt
from matplotlib.axes import Axes

OURS, FLOOR, OTHERS = "#2563eb", "#9ca3af", "#d1895c"


def bars(
    axes: Axes, names: list[str], titles: list[str], rounds: list[list[float]]
) -> None:
    """Draw a bar for each name: the median, and a line from least to most."""
    middles = [median(each) for each in rounds]
    errors = [
        [middle - min(each) for middle, each in zip(middles, rounds, strict=True)],
        [max(each) - middle for middle, each in zip(middles, rounds, strict=True)],
    ]
    colors = [
        FLOOR
        if name.startswith("floor")
        else OURS
        if name in {"memory", "redis"}
        else OTHERS
        for name in names
    ]
    axes.barh(titles, middles, xerr=errors, color=colors, ecolor="#374151", capsize=2)
    axes.set_xlabel("times the floor's")
    axes.spines[["top", "right"]].set_visible(False)
    for place, (middle, each) in enumerate(zip(middles, rounds, strict=True)):
        axes.text(max(each), place, f"  {middle:,.2f}", va="center", fontsize=8)
    axes.margins(x=0.18)


def main() -> None:
    """Draw both files."""
    plt.switch_backend("agg")
    plt.rcParams["svg.hashsalt"] = "comparison"
    found = json.loads(Path(sys.argv[1]).read_text())
    loads, titles = found["loads"], found["titles"]
    names = [name for name in titles if " x" not in name]
    shown = [titles[name] for name in names]
    size = 4 * len(loads), 1 + 0.37 * len(names)
    figure, axes = plt.subplots(
        1, len(loads), figsize=size, sharey=True, layout="constrained"
    )
    for each, (load, entrants) in zip(axes, loads.items(), strict=True):
        ratios = [
            [
                own["cpu_us"] / floor["cpu_us"]
                for own, floor in zip(entrants[name], entrants["floor"], strict=True)
            ]
            for name in names
        ]
        bars(each, names, shown, ratios)
        each.axvline(1, color=FLOOR, linewidth=0.8, zorder=0)
        each.set_title(load, fontsize=10)
    axes[0].invert_yaxis()
    figure.suptitle(
        "Processor time per update, one worker (less is better)", fontsize=11
    )
    for suffix in ("svg", "png"):
        place = Path(sys.argv[2]) / f"comparison.{suffix}"
        figure.savefig(
            place, dpi=150, metadata={"Date": None} if suffix == "svg" else {}
        )


if __name__ == "__main__":
    main()
