"""Masks: where a picture is painted, and where it is kept.

Convention: a mask is (H, W) float32; 1 (white) is painted, 0 (black) is kept. Modules: `language` parses expressions,
`find` finds their files and models before anything is loaded, `compose` makes the mask of a frame, `attach` paints
under it, `follow` moves it with the camera, `clipseg` segments by words.
"""
