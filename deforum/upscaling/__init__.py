"""Upscaling: single pictures made larger, by Lanczos or a network.

`models` is the table of upscalers, `upscaler` runs one, in tiles where a picture is large.
"""
