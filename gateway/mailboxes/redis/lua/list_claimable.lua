-- Lists the ordering keys of one shard's claimable mailboxes, longest waiting first.
-- KEYS  1 pending  2 generation  3 dead letters  4 rejected letters
--       5 scheduled deliveries  6 reports
-- ARGV  1 maximum number of ordering keys  2 generation to store if the shard has none
--       3 retention time in ms: remove older letters (0: remove none)
--       4... ids of bots whose mailboxes are left out
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
local ordering_keys
if #ARGV == 3 then
  ordering_keys = redis.call('ZRANGE', KEYS[1], '-inf', now, 'BYSCORE', 'LIMIT', 0, ARGV[1], 'WITHSCORES')
else
  local is_skipped = {}
  for i = 4, #ARGV do is_skipped[ARGV[i]] = true end
  local wanted, page, start, found = 2 * ARGV[1], 1000, 0, nil
  ordering_keys = {}
  repeat
    found = redis.call('ZRANGE', KEYS[1], '-inf', now, 'BYSCORE', 'LIMIT', start, page, 'WITHSCORES')
    for i = 1, #found, 2 do
      if #ordering_keys < wanted and not is_skipped[string.match(found[i], '^[^/]*')] then
        ordering_keys[#ordering_keys + 1] = found[i]
        ordering_keys[#ordering_keys + 1] = found[i + 1]
      end
    end
    start = start + page
  until #found < 2 * page or #ordering_keys >= wanted or start >= 20000
end
return {generation, redis.call('ZCARD', KEYS[1]), redis.call('XLEN', KEYS[3]),
  redis.call('XLEN', KEYS[4]), now, ordering_keys,
  redis.call('ZCOUNT', KEYS[5], '-inf', now), redis.call('ZCARD', KEYS[6])}
