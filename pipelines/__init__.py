"""Pipelines that ship with curate."""
