"""Tests of the mongodb provider."""
