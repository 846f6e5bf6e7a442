-- Adds recipients of one shard to a broadcast; each waits in the set of its part.
-- KEYS  1 counts  2... waiting recipients of a part
-- ARGV  1 when the keys expire, in ms  2... for each part the number of its ids, and the ids
-- Returns the number of recipients that are new
local added, position = 0, 2
for i = 2, #KEYS do
  local count = tonumber(ARGV[position])
  added = added + redis.call('SADD', KEYS[i], unpack(ARGV, position + 1, position + count))
  redis.call('PEXPIREAT', KEYS[i], ARGV[1])
  position = position + count + 1
end
if added > 0 then
  redis.call('HINCRBY', KEYS[1], 'total', added)
  redis.call('PEXPIREAT', KEYS[1], ARGV[1])
end
return added
