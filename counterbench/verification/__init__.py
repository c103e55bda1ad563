"""Can a record be true; asking its model again."""
