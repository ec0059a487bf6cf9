"""Time, throughput, memory and cold start on this machine."""
