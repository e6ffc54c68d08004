"""LoRAs and their relatives, in every layout that trainers write: a file becomes branches beside a model's layers.

`file` reads names and kinds without torch, `names` finds the layers that they mean, `branches` computes, `load` joins.
"""
