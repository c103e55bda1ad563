"""What every component must keep, as checks that speak in instructions."""
