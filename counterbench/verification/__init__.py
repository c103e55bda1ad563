"""Verification of records: consistency with this version's exam, and asking the model again."""
