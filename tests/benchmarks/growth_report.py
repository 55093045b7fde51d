"""The table, the figure and the sentence that growth.py writes."""

from pathlib import Path

import numpy as np
import pandas as pd

AXES = ("images", "concepts", "units", "configurations")
LEAST_MIB = 1.0
"""Below it a process's memory says nothing: allocators round."""
NOTED_MIB = 16.0
"""What grows but stays below it is not worth a word."""
QUANTITIES = {"seconds": "processor seconds", "memory_mib": "memory of the work, MiB"}


def slopes(table: pd.DataFrame) -> pd.DataFrame:
    """How fast each part grows between its two largest sizes: 0 is flat, 1 is linear, on log-log axes."""
    rows = []
    for (part, axis), one in table.sort_values("size").groupby(["part", "axis"], sort=False):
        if len(one) > 1:
            last = one.tail(2)
            steps = {
                name: np.log(last[name].clip(lower=LEAST_MIB if name == "memory_mib" else 1e-6)) for name in QUANTITIES
            }
            over = np.log(last["size"]).diff().iloc[-1]
            rows.append({"part": part, "axis": axis} | {
                f"{name}_slope": steps[name].diff().iloc[-1] / over for name in QUANTITIES})  # fmt: skip
    return pd.DataFrame(rows, columns=["part", "axis", *(f"{name}_slope" for name in QUANTITIES)])


def write(folder: Path, rows: list[dict]) -> None:
    """Writes growth.csv (a row a point), growth.svg and README.md."""
    table = pd.DataFrame(rows, columns=["part", "axis", "size", "seconds", "memory_mib", "rss_mib"])
    grown = slopes(table)
    folder.mkdir(parents=True, exist_ok=True)
    table.merge(grown, how="left").to_csv(folder / "growth.csv", index=False, float_format="%.4g")
    _draw(folder / "growth.svg", table, grown)
    flat = grown[grown["axis"].isin(["images", "configurations"])]
    most = table.groupby("part")["memory_mib"].max()
    rising = flat[(flat["memory_mib_slope"] > 0.5) & (flat["part"].map(most) > NOTED_MIB)]
    listed = ", ".join(f"{row.part} ({row.memory_mib_slope:.1f})" for row in rising.itertuples()) or "none"
    (folder / "README.md").write_text(
        "`make growth` writes `growth.csv` and `growth.svg`: processor seconds and memory of each part at growing "
        "sizes, every point in a process of its own on one core, with the slope between the two largest sizes on "
        "log-log axes.\nMemory that grows with images or configurations (slope above 0.5, more than "
        f"{NOTED_MIB:.0f} MiB): {listed}.\n"
    )


def _draw(path: Path, table: pd.DataFrame, grown: pd.DataFrame) -> None:
    """One picture: an axis of growth a column, seconds above and memory below, slopes in the legend."""
    import matplotlib

    matplotlib.use("svg")
    matplotlib.rcParams.update({"svg.hashsalt": "growth", "font.size": 7})
    from matplotlib import pyplot

    figure, panels = pyplot.subplots(2, len(AXES), figsize=(15, 7), sharex="col", layout="constrained")
    slope = grown.set_index("part") if len(grown) else grown
    for column, axis in enumerate(AXES):
        for panel, (quantity, label) in zip(panels[:, column], QUANTITIES.items(), strict=True):
            for part, one in table[table["axis"] == axis].groupby("part", sort=False):
                told = f"  {slope.loc[part, f'{quantity}_slope']:.1f}" if part in slope.index else ""
                values = one[quantity].clip(lower=LEAST_MIB) if quantity == "memory_mib" else one[quantity]
                panel.plot(one["size"], values, marker="o", markersize=3, linewidth=1, label=part + told)
            panel.set(xscale="log", yscale="log", title=f"{label}, slope at the end" if not column else "")
            panel.grid(alpha=0.3)
            if panel.has_data():
                panel.legend(fontsize=6, frameon=False)
        panels[1, column].set_xlabel(axis)
    figure.savefig(path, metadata={"Date": None})
    pyplot.close(figure)
