"""One attack each: a title, and `play(stage)`, which attacks for some seconds and may check what it sees. The runner does
the rest: before, while and after it, a user writes and reads. Attacks of one group are played at the same time: those that
wait for the pod's patience to end wait for it together."""

from . import guesses, half_bodies, half_heads, handshakes, large_reads, messages, prefaces, silent, slow_readers

GROUPS = [[half_bodies, half_heads, prefaces], [silent], [slow_readers], [large_reads], [messages], [guesses], [handshakes]]
