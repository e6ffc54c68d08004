"""Masks: where a picture is painted, and where it stays as it is.

Convention: a mask is (H, W) float32; 1 (white) is painted, 0 (black) is kept. The parts: `language` reads expressions,
`find` finds what they need before anything is loaded, `compose` makes the mask of a frame, `attach` paints by it,
`follow` moves it with the camera, `clipseg` finds what words describe.
"""
