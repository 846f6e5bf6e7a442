-- Records that the Bot API call that a token's owner began certainly took no effect.
-- KEYS  1 pending  2 leases  3 record
-- ARGV  1 ordering key  2 token
-- Returns 1; 0 if the lease is not ours any more
local record = read_record(KEYS[3])
if record and record.state == 'sending' and record.owner == ARGV[2] then
  record.owner = '-'
  if record.part == '0' then
    record.state, record.result, record.sequence = 'accepted', '', record.sequence + 1
  end
  -- Removes nothing. If a full Redis accepts a script's first write, it accepts all.
  redis.call('ZREM', KEYS[1], '')
  redis.call('SET', KEYS[3], write_record(record, get_now()))
end
if redis.call('HGET', KEYS[2], ARGV[1]) ~= ARGV[2] then return 0 end
return 1
