-- Adds a dead letter that never was in a mailbox.
-- KEYS  1 dead letters or rejected letters
-- ARGV  1 maximum number of entries  2 retention time in ms
--       3... the fields and values of the entry
-- Returns 1
local entry = {}
for i = 3, #ARGV do entry[#entry + 1] = ARGV[i] end
redis.call('XADD', KEYS[1], 'MAXLEN', ARGV[1], '*', unpack(entry))
redis.call('PEXPIRE', KEYS[1], ARGV[2])
return 1
