"""How each report looks on a terminal: one module each, of the report's name, with a function `show`."""
