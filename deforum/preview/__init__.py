"""Previews: the whole motion of an animation, without diffusion.

A preview is the loop of a render with its cameras, clips and masks, and a painter that paints nothing: one picture is
moved from the first frame to the last. Noise, colours, sharpening and every other change of pictures are left out.
"""
