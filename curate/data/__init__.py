"""Models, lexicons and tables that we wrote."""
