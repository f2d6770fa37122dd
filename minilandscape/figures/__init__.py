"""Pictures of what the engine found; each function takes Matplotlib axes and numbers, and returns the axes.

Figures of the paper's campaign are in `paper`.
May import `display`, `drawing`, `potentials`, `paths`, `analysis`, `set_barriers`.
"""
