"""The unit and agent files, and the steps that install them."""
