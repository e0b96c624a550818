-- Compare tables without a heartbeat, before reading on after a reconnect. KEYS[3..]: meta and log of each VNI,
-- ARGV[4..]: gen, rev and digest of each.
return compare_all((#KEYS - 2) / 2, 3, 4)
