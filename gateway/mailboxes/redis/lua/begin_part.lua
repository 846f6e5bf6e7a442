-- Records that a Bot API call of a delivery begins.
-- KEYS  1 pending  2 leases  3 record
-- ARGV  1 ordering key  2 token  3 number of the part  4 result so far
--       5 '1' to begin although an earlier owner began a part, otherwise ''
--       6 facts of a record to make if it is missing ('': make none)  7 its report policy
-- Returns the record as it was before; 0 if the lease is not ours; 1 if there is no record
if redis.call('HGET', KEYS[2], ARGV[1]) ~= ARGV[2] then return 0 end
local record = read_record(KEYS[3])
local before = record and record.value
if not record then
  if ARGV[6] == '' then return 1 end
  record = {state = 'accepted', sequence = 1, part = '0', owner = '-', position = '-', report = ARGV[7],
    facts = ARGV[6], result = '', mail = ''}
  before = write_record(record, get_now())
end
if not is_open(record) then return before end
if record.owner ~= '-' and record.owner ~= ARGV[2] and ARGV[5] == '' then return before end
if record.owner == '-' and tonumber(record.part) > tonumber(ARGV[3]) then return before end
if record.state ~= 'sending' then record.sequence = record.sequence + 1 end
record.state, record.part, record.owner, record.result = 'sending', ARGV[3], ARGV[2], ARGV[4]
-- Removes nothing. If a full Redis accepts a script's first write, it accepts all.
redis.call('ZREM', KEYS[1], '')
redis.call('SET', KEYS[3], write_record(record, get_now()))
return before
