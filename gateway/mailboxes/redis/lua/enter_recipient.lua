-- Puts the delivery for a recipient of a broadcast into its mailbox, if the recipient waits;
-- acquires the lease of a mailbox that is not pending.
-- KEYS  1 mailbox  2 state  3 pending  4 leases  5 record  6 waiting recipients  7 counts
-- ARGV  1 ordering key  2 delivery id  3 mail  4 facts  5 chat id
--       6 maximum number of mail in the mailbox  7 token ('': acquire no lease)
--       8 lease in ms  9 when the counts expire, in ms
-- Returns {state, head (omitted if the mailbox was empty)} if the lease was acquired; otherwise
--       0 if the recipient does not wait, 1 if it entered, 2 if the mailbox is full
if redis.call('SISMEMBER', KEYS[6], ARGV[5]) == 0 then
  if ARGV[7] == '' or redis.call('HGET', KEYS[4], ARGV[1]) ~= ARGV[7] then return 0 end
  -- This token has the lease already: the first reply was lost. Start the lease again.
  -- The ZREM removes nothing. If a full Redis accepts a script's first write, it accepts
  -- all.
  redis.call('ZREM', KEYS[3], '')
  redis.call('ZADD', KEYS[3], 'XX', get_now() + ARGV[8], ARGV[1])
  return {redis.call('GET', KEYS[2]), redis.call('ZRANGE', KEYS[1], 0, 0)[1]}
end
local position = find_position(KEYS[1])
if not position or redis.call('ZCARD', KEYS[1]) >= tonumber(ARGV[6]) then return 2 end
-- The first write frees memory, so that a full Redis accepts the others.
redis.call('SREM', KEYS[6], ARGV[5])
redis.call('HINCRBY', KEYS[7], 'entered', 1)
redis.call('PEXPIREAT', KEYS[7], ARGV[9])
local now = get_now()
-- An open record is that of a call that an owner began, and that Redis had lost.
local record = read_record(KEYS[5])
if not record or not is_open(record) then
  record = {state = 'accepted', sequence = 1, part = '0', owner = '-', report = 'none',
    facts = ARGV[4], result = '', mail = ''}
end
record.position = position
redis.call('ZADD', KEYS[1], position, ARGV[3])
redis.call('SET', KEYS[5], write_record(record, now))
local claimable_at = now
if ARGV[7] ~= '' then claimable_at = now + ARGV[8] end
-- A pending mailbox has an owner or waits for a scan: do not acquire its lease here.
if redis.call('ZADD', KEYS[3], 'NX', claimable_at, ARGV[1]) == 0 or ARGV[7] == '' then return 1 end
redis.call('HSET', KEYS[4], ARGV[1], ARGV[7])
if redis.call('ZCARD', KEYS[1]) == 1 then return {redis.call('GET', KEYS[2])} end
return {redis.call('GET', KEYS[2]), redis.call('ZRANGE', KEYS[1], 0, 0)[1]}
