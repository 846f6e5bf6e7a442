-- Puts a scheduled delivery whose time has come into its mailbox.
-- KEYS  1 mailbox  2 pending  3 record  4 scheduled
-- ARGV  1 ordering key  2 delivery id  3 maximum number of mail in the mailbox
--       4 delay in ms of the next attempt if the mailbox is full; for a bulk delivery
--         with the offset of their times
-- Returns 1 if it entered, 0 if it had entered or ended before, 2 if the mailbox is full
local member = ARGV[2] .. ' ' .. ARGV[1]
local record = read_record(KEYS[3])
if not record or record.state ~= 'scheduled' then
  redis.call('ZREM', KEYS[4], member)
  return 0
end
local now = get_now()
local position = find_position(KEYS[1])
if not position or redis.call('ZCARD', KEYS[1]) >= tonumber(ARGV[3]) then
  redis.call('ZREM', KEYS[4], '') -- removes nothing, see above
  redis.call('ZADD', KEYS[4], 'XX', now + ARGV[4], member)
  return 2
end
-- The first write frees memory, so that a full Redis accepts the others.
redis.call('ZREM', KEYS[4], member)
redis.call('ZADD', KEYS[1], position, record.mail)
record.state, record.position, record.mail = 'accepted', position, ''
record.sequence = record.sequence + 1
redis.call('SET', KEYS[3], write_record(record, now))
redis.call('ZADD', KEYS[2], 'NX', now, ARGV[1])
return 1
