"""Writes PAGE, a template for `dvc plots` with Vega in it, so that its plots need no network: `make plots`."""

from __future__ import annotations

from pathlib import Path

import vl_convert

from harness.base.files import write_text

PAGE = Path(".dvc/tmp/plots.html")
VEGA_LITE = "5.20"  # the templates in .dvc/plots are of version 5
HEAD = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>Plots</title>{refresh_tag}
<style>body {{ font-family: sans-serif }}</style>
<script>(() => {{ {vega} }})();</script>
</head><body>{plot_divs}</body></html>
"""


def main() -> None:
    vega = vl_convert.javascript_bundle("window.vegaEmbed = vegaEmbed;", vl_version=VEGA_LITE)
    placeholders = {name: f"{{{name}}}" for name in ("refresh_tag", "plot_divs")}  # which DVC fills in
    PAGE.parent.mkdir(parents=True, exist_ok=True)
    write_text(PAGE, HEAD.format(vega=vega, **placeholders))


if __name__ == "__main__":
    main()
