-- Acquires, renews or releases a lease of which there is one for all workers.
-- KEYS  1 lease
-- ARGV  1 token  2 duration in ms, 0 to release the lease
-- Returns 1 if the lease is ours or was ours until its release, otherwise 0.
local owner = redis.call('GET', KEYS[1])
if owner and owner ~= ARGV[1] then return 0 end
-- Removes the key. The users of Redis in deploy/ have no right to call DEL.
if ARGV[2] == '0' then return redis.call('PEXPIRE', KEYS[1], 0) end
-- A full Redis accepts the renewal, but not the first write.
if owner then return redis.call('PEXPIRE', KEYS[1], ARGV[2]) end
redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
return 1
