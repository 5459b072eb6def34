"""Brain extraction: how a brain mask is made (`masks`), what may be wrong with one (`quality`), and the verb `extract`.

Arrays are (x, y, z), affines voxel -> RAS+ millimetres, masks bool. Importing the package costs nothing: each method's own
libraries are loaded when it is first used.
"""
