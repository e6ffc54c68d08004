"""Adapters that change how a model paints: LoRA, ControlNet, IP-Adapter. None is here yet."""
