"""Files with the path of a camera: other programs' formats, read and written, and the renderer's motion as one.

A format is a file here, and a row of `deforum.camera_files.table`.
"""
