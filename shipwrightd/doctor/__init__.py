"""`doctor`: everything a maintainer would ask about, looked at without changing anything.

Each check looks at one thing and says what it found, and what to do about it.
What decides takes plain values; looking at files and limits is the thin part
around it. `examine` puts the checks together.
"""
