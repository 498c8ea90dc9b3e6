"""Bytes of a journal to event rows. Pure."""
