"""Objectives that are trained before a task is: each is a model and data for the one trainer."""
