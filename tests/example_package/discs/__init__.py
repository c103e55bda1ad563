"""Discs on a grainy ground: everything that a third party may bring, in one package."""
