"""Time, throughput, memory and cold start of a bundle on this machine."""
