"""Sweeps: a matrix of trainings and evaluations as numbered jobs, each of which is a command, run on engines that exist."""
