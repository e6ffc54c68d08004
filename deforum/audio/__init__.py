"""Hearing a sound: its levels, onsets, beats, bars and sections.

    from deforum.audio import hear

    sound = hear(Path("song.wav"))      # anything that ffmpeg reads; kept in a cache by its contents
    sound.seconds, sound.bpm            # length in s; tempo in beats per minute, 0 where no beat is heard
    sound.envelope                      # (T,) waveform: largest |sample|, `RATE` values a second, from 0 s on
    sound.levels["bass"]                # (T,) RMS level, 1 is a sine of full scale; amp, bass, mid, treble
    sound.onset                         # (T,) how strongly something begins, 0..1
    sound.beats, sound.bars             # (B,), (M,) s
    sound.sections                      # Section(start, end, label) in s; parts alike have equal labels
    sound.band(40, 120)                 # (T,) the level between two frequencies in Hz

Everything is on the sound's own clock, in seconds from its beginning; `Signals` (signals.py) has it by frames of a run.
Numpy alone is needed.
"""

from deforum.audio.grid import Grid
from deforum.audio.listening import hear
from deforum.audio.sections import Section
from deforum.audio.sound import Sound
from deforum.audio.spectra import BANDS, RATE

__all__ = ["BANDS", "RATE", "Grid", "Section", "Sound", "hear"]
