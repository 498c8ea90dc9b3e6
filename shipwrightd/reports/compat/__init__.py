"""Reports filled with the figures that Shipwright's dashboard shows: what `--compat` asks for.

One module a report, with the same answer as the report; what the dashboard does not know is None, 0 or empty.
"""
