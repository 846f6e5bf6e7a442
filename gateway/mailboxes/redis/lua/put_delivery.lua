-- Appends a delivery to its mailbox, or stores it until its time, unless it has a record;
-- acquires the lease of a mailbox that is not pending.
-- KEYS  1 mailbox  2 state  3 pending  4 leases  5 record  6 scheduled  7 reports
--       8 cool-down of the chat  9 collapse entry (only with a collapse key)
--       10 record of the delivery that it replaces (only if there may be one)
-- ARGV  1 ordering key  2 delivery id  3 mail  4 token ('': acquire no lease)
--       5 lease in ms  6 maximum number of mail in the mailbox (0: no limit)
--       7 report policy  8 facts  9 not before, in ms ('': at once)
--       10 lifetime of ended records in ms
--       11 offset of the time of a bulk delivery in ms (0: it is no bulk delivery)
--       12 result of a delivery that is begun ('': do not begin)
--       13 lifetime of the collapse entry in ms
--       14 id of the delivery that it replaces ('': none)  15 result of that one
-- Returns {state, head} if the lease was acquired; the head is omitted if the mailbox was
--       empty, and 1 if the first call was begun, because nothing is to be done before it;
--       otherwise 0 if there is a record, 1 if it was stored, 2 if the mailbox is full,
--       3 if it waits for its time; the id in the collapse entry, if that is not the one
--       in ARGV, and nothing was changed
local record = read_record(KEYS[5])
if record then
  if ARGV[6] == '0' and record.state == 'sending' and record.position == '-' then
    -- A replay, in which the begin of a call came before the mail.
    local position = find_position(KEYS[1])
    if not position then return 2 end
    redis.call('ZREM', KEYS[3], '') -- removes nothing, see below
    redis.call('ZADD', KEYS[1], position, ARGV[3])
    record.position = position
    redis.call('SET', KEYS[5], write_record(record, get_now()))
    redis.call('ZADD', KEYS[3], 'NX', get_now(), ARGV[1])
    return 1
  end
  if ARGV[4] == '' or redis.call('HGET', KEYS[4], ARGV[1]) ~= ARGV[4] then return 0 end
  -- This token has the lease already: the first reply was lost. Start the lease again.
  -- The ZREM removes nothing. If a full Redis accepts a script's first write, it accepts
  -- all.
  redis.call('ZREM', KEYS[3], '')
  redis.call('ZADD', KEYS[3], 'XX', get_now() + ARGV[5], ARGV[1])
  if record.owner == ARGV[4] then return {redis.call('GET', KEYS[2]), 1} end
  return {redis.call('GET', KEYS[2]), redis.call('ZRANGE', KEYS[1], 0, 0)[1]}
end
local earlier
if KEYS[9] then
  local id = redis.call('GET', KEYS[9]) or ''
  if id ~= ARGV[14] then return id end
  earlier = KEYS[10] and read_record(KEYS[10])
  if earlier and not is_waiting(earlier) then earlier = nil end
end
local now = get_now()
local is_bulk = ARGV[11] ~= '0'
local is_scheduled = is_bulk or ARGV[9] ~= '' and tonumber(ARGV[9]) > now
if not is_scheduled and ARGV[6] ~= '0' then
  local count = redis.call('ZCARD', KEYS[1])
  if earlier and earlier.state == 'accepted' then count = count - 1 end
  if count >= tonumber(ARGV[6]) then return 2 end
end
if not is_scheduled and not find_position(KEYS[1]) then return 2 end
if earlier then
  cancel(KEYS[10], KEYS[1], KEYS[6], KEYS[7], earlier, ARGV[14], ARGV[1], ARGV[15], now, ARGV[10])
end
record = {state = 'accepted', sequence = 1, part = '0', owner = '-', position = '-', report = ARGV[7],
  facts = ARGV[8], result = '', mail = ''}
if is_scheduled then
  record.state, record.mail = 'scheduled', ARGV[3]
  local enters_at = math.max(tonumber(ARGV[9]) or 0, is_bulk and now or 0) + ARGV[11]
  redis.call('ZADD', KEYS[6], string.format('%.0f', enters_at), ARGV[2] .. ' ' .. ARGV[1])
else
  record.position = find_position(KEYS[1])
  redis.call('ZADD', KEYS[1], record.position, ARGV[3])
end
if KEYS[9] then redis.call('SET', KEYS[9], ARGV[2], 'PX', ARGV[13]) end
if is_scheduled then
  redis.call('SET', KEYS[5], write_record(record, now))
  if earlier then forget_if_empty(KEYS[1], KEYS[3], KEYS[4], ARGV[1]) end
  return 3
end
local claimable_at = now
if ARGV[4] ~= '' then claimable_at = now + ARGV[5] end
-- A pending mailbox has an owner or waits for a scan: do not acquire its lease here.
local is_acquired = redis.call('ZADD', KEYS[3], 'NX', claimable_at, ARGV[1]) == 1 and ARGV[4] ~= ''
local is_alone = redis.call('ZCARD', KEYS[1]) == 1
local is_begun = is_acquired and is_alone and ARGV[12] ~= '' and redis.call('EXISTS', KEYS[8]) == 0
if is_begun then
  record.state, record.sequence, record.owner, record.result = 'sending', 2, ARGV[4], ARGV[12]
end
redis.call('SET', KEYS[5], write_record(record, now))
if not is_acquired then return 1 end
redis.call('HSET', KEYS[4], ARGV[1], ARGV[4])
if is_begun then return {redis.call('GET', KEYS[2]), 1} end
if is_alone then return {redis.call('GET', KEYS[2])} end
return {redis.call('GET', KEYS[2]), redis.call('ZRANGE', KEYS[1], 0, 0)[1]}
