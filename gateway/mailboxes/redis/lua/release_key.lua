-- Releases an idempotency key of which no delivery was stored.
-- KEYS  1 idempotency entry
-- ARGV  1 the entry that is to be removed
-- Returns 1 if it was removed, 0 if there is another entry or none
if redis.call('GET', KEYS[1]) ~= ARGV[1] then return 0 end
-- Removes the key. The users of Redis in deploy/ have no right to call DEL.
return redis.call('PEXPIRE', KEYS[1], -1)
