"""What commands do beside parsing options: streams, exit codes, the order of steps."""
