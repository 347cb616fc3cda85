"""The table and the picture of the comparison's rows.

    python -m bench.comparison_table OUT --picture docs/comparison-personas.png

Prints a Markdown table of the rows that have their result, nearest to the pictures first, and lays the first
seeds of each under each other.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import typer
from PIL import Image, ImageDraw

LABEL = 260  # pixels
HEAD = "| row | kimg | images/s | SWD | FCD | precision | recall | D loss | right | p |"


def last_fifth(result: dict[str, Any], name: str) -> float:
    """Mean of a report's value over the end of the run."""
    values = [value for value in result["game"][name] if value is not None]
    ending = values[-max(1, len(values) // 5) :]
    return float(sum(ending) / len(ending))


def measures(row: dict[str, float]) -> str:
    """Distances and coverage, as cells."""
    return f"{row['swd']:.1f} | {row['fcd']:.2f} | {row['precision']:.2f} | {row['recall']:.3f}"


def line(result: dict[str, Any]) -> str:
    """One row of the table."""
    speed = 1000 * result["kimg"] / (60 * result["cpu_minutes"])
    return (
        f"| {result['row']} | {result['kimg']:.0f} | {speed:.0f} | {measures(result['measures']['model'])} "
        f"| {last_fifth(result, 'loss_d'):.2f} | {last_fifth(result, 'right'):.0%} "
        f"| {last_fifth(result, 'augment_probability'):.2f} |"
    )


def sheet(folders: list[Path]) -> Image.Image:
    """The strips of all rows below each other, each with its name before it."""
    strips = [Image.open(folder / "strip.png") for folder in folders]
    height = max(strip.height for strip in strips)
    image = Image.new("RGB", (LABEL + strips[0].width, (height + 2) * len(strips)), "white")
    draw = ImageDraw.Draw(image)
    for index, (folder, strip) in enumerate(zip(folders, strips, strict=True)):
        y = index * (height + 2)
        image.paste(strip, (LABEL, y))
        draw.text((4, y + height // 2 - 8), folder.name, fill="black", font_size=15)
    return image


def main(out: Path, picture: Annotated[Path, typer.Option()]) -> None:
    """Prints the table of all finished rows in OUT and writes the picture."""
    results = [json.loads(path.read_text()) for path in out.glob("*/result.json")]
    if not results:
        raise SystemExit(f"{out} has no row with a result.json: run bench.comparison to its end first")
    results.sort(key=lambda result: result["measures"]["model"]["swd"])
    print(HEAD + "\n" + "|---" * HEAD.count(" | ") + "|---|")
    print(f"| other real pictures | | | {measures(results[0]['measures']['other_half'])} | | | |")
    for result in results:
        print(line(result))
    sheet([out / result["row"] for result in results]).save(picture, optimize=True)


if __name__ == "__main__":
    typer.run(main)
