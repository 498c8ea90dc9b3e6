"""`doctor`: checks everything a maintainer would ask about, without changing anything.

A check examines one thing and yields findings, each with what to do. Judging
takes plain values; reading files and limits is the thin part around it.
"""
