"""IP-Adapters: pictures as prompts. `file` reads headers without torch, `network` computes, `load` joins."""
