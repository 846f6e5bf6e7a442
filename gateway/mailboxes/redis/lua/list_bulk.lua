-- Lists the bulk deliveries of one shard that may enter their mailboxes, oldest first.
-- KEYS  1 scheduled
-- ARGV  1 maximum number  2 offset of the times of bulk deliveries in ms
-- Returns their members (the id, a space, the ordering key), each followed by its time
local time = redis.call('TIME')
local last = ARGV[2] + time[1] * 1000 + math.floor(time[2] / 1000)
return redis.call('ZRANGE', KEYS[1], ARGV[2], string.format('%.0f', last), 'BYSCORE',
  'LIMIT', 0, ARGV[1], 'WITHSCORES')
