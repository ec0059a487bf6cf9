"""An alarm for drift that may be looked at after every sample: see `monitor` and `detector`."""
