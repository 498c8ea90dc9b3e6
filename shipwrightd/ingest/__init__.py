"""The write side: from file-system hints to committed rows. Imports nothing of report."""
