-- Wake the own reader. KEYS[3] its stream, ARGV[4] how long the key may stay (ms).
redis.call('XADD', KEYS[3], 'MAXLEN', 1, '*', 'w', '1')
return redis.call('PEXPIRE', KEYS[3], ARGV[4])
