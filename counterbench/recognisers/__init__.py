"""Recognisers: feature spaces trained to tell individuals apart, whatever else about them changes."""
