-- Changes the state of a broadcast, if its present state is allowed.
-- KEYS  1 broadcast  2 open broadcasts
-- ARGV  1 id  2 new state  3 '1' if something may be left to do, otherwise '0'
--       4... allowed states
-- Returns the state before; 0 if there is no such broadcast
local state = redis.call('HGET', KEYS[1], 'state')
if not state then
  redis.call('HDEL', KEYS[2], ARGV[1])
  return 0
end
for i = 4, #ARGV do
  if state == ARGV[i] then
    -- Removes nothing, or frees memory, so that a full Redis accepts the other writes.
    if ARGV[3] == '0' then redis.call('HDEL', KEYS[2], ARGV[1]) else redis.call('HDEL', KEYS[2], '') end
    if state ~= ARGV[2] then
      local time = redis.call('TIME')
      redis.call('HSET', KEYS[1], 'state', ARGV[2], 'changed',
        string.format('%.0f', time[1] * 1000 + math.floor(time[2] / 1000)))
    end
    if ARGV[3] == '1' then redis.call('HSET', KEYS[2], ARGV[1], ARGV[2]) end
    return state
  end
end
return state
