"""Plots of a timeline: every schedule that varies over the frames, as a page for a browser and as a picture.

`plot_of` gives a `Plot`, plain data; `write_page` (page.py) and `draw_picture` (picture.py) draw it. Other pages show a
plot with `stylesheet()`, `script()` and `as_json(plot)`, see assets/plot.js.
"""
