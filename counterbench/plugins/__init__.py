"""How names become things: registries, and the one factory that makes a component from options."""
