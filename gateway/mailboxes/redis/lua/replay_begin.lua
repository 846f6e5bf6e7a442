-- Records again that a Bot API call of a delivery began, if Redis has lost that.
-- KEYS  1 mailbox  2 pending  3 record  4 scheduled
-- ARGV  1 ordering key  2 delivery id  3 token  4 number of the part  5 result so far
--       6 facts  7 report policy  8 lifetime of a record without its mail in ms
-- Returns 1 if it was recorded; 0 if it has ended, or a call as late was recorded before
local record = read_record(KEYS[3])
local now = get_now()
if not record then
  -- The worker that accepted the delivery puts its mail again, before or after this.
  record = {state = 'sending', sequence = 2, part = ARGV[4], owner = ARGV[3], position = '-', report = ARGV[7],
    facts = ARGV[6], result = ARGV[5], mail = ''}
  redis.call('SET', KEYS[3], write_record(record, now), 'PX', ARGV[8])
  return 1
end
if not is_open(record) then return 0 end
if record.state == 'sending' and tonumber(record.part) >= tonumber(ARGV[4]) then return 0 end
-- Removes nothing of a delivery in its mailbox. A full Redis accepts the next writes too.
redis.call('ZREM', KEYS[4], ARGV[2] .. ' ' .. ARGV[1])
if record.state == 'scheduled' then
  local position = find_position(KEYS[1])
  if not position then return 0 end
  redis.call('ZADD', KEYS[1], position, record.mail)
  redis.call('ZADD', KEYS[2], 'NX', now, ARGV[1])
  record.position, record.mail = position, ''
end
if record.state ~= 'sending' then record.sequence = record.sequence + 1 end
record.state, record.part, record.owner, record.result = 'sending', ARGV[4], ARGV[3], ARGV[5]
redis.call('SET', KEYS[3], write_record(record, now))
return 1
