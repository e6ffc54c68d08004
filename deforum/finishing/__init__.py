"""Finishing: frames are made larger and firmer before they are written; the loop continues from those before it.

`network` is the network, `finisher` runs it, `looks` are drawing styles on top, `own` knows where a frame shows a
clip's own pixels, which are enlarged plainly.
"""
