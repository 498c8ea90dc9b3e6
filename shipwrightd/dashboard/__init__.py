"""The API of Shipwright's dashboard, answered from the database: as the dashboard does, and corrected."""
