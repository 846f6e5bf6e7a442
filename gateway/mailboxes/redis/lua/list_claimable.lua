-- Lists the ordering keys of one shard's claimable mailboxes, longest waiting first.
-- KEYS  1 pending  2 generation  3 dead letters  4 rejected letters
--       5 scheduled deliveries  6 reports
-- ARGV  1 maximum number of ordering keys  2 generation to store if the shard has none
--       3 retention time in ms: remove older letters (0: remove none)
-- Returns {generation, number of mailboxes with updates, number of dead letters,
--       number of rejected letters, now, {ordering key, claimable at, ...},
--       number of scheduled deliveries that are due, number of reports},
--       with times of Redis in ms
local generation = redis.call('GET', KEYS[2])
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
if ARGV[3] ~= '0' then
  local oldest = string.format('%.0f', now - ARGV[3])
  redis.call('XTRIM', KEYS[3], 'MINID', oldest)
  redis.call('XTRIM', KEYS[4], 'MINID', oldest)
end
if not generation then
  generation = ARGV[2]
  -- Removes nothing. If a full Redis accepts a script's first write, it accepts all.
  redis.call('ZREM', KEYS[1], '')
  redis.call('SET', KEYS[2], generation)
end
local ordering_keys = redis.call('ZRANGE', KEYS[1], '-inf', now, 'BYSCORE', 'LIMIT', 0, ARGV[1], 'WITHSCORES')
return {generation, redis.call('ZCARD', KEYS[1]), redis.call('XLEN', KEYS[3]),
  redis.call('XLEN', KEYS[4]), now, ordering_keys,
  redis.call('ZCOUNT', KEYS[5], '-inf', now), redis.call('ZCARD', KEYS[6])}
