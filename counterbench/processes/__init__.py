"""Known data-generating processes: parameters in, pixels out, and the measurements that invert them."""
