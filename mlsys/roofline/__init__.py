"""What a decoder's steps move and compute, against what the machine can: MBU, MFU, and what bounds a step.

The roofline model of Williams, Waterman and Patterson (2009). Model FLOPs utilisation is that of Chowdhery et al.
(PaLM, 2022), model bandwidth utilisation its counterpart for memory: bytes that must be moved over the time, over the
peak. Both count what the answer needs and not what a kernel does beside it, so neither can be improved by more work.
"""
