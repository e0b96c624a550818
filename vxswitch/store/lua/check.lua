-- Compare tables without a heartbeat, before reading on after a reconnect. ARGV[4..]: gen, rev, digest of each VNI.
return compare_all(4)
