-- Lists waiting recipients of one shard.
-- KEYS  waiting recipients of each part
-- ARGV  1 maximum number  2 number of the part to begin with, so that recipients who cannot
--       enter do not hide the others
-- Returns their chat ids
local found, left = {}, tonumber(ARGV[1])
for i = 0, #KEYS - 1 do
  local ids = redis.call('SRANDMEMBER', KEYS[(ARGV[2] + i) % #KEYS + 1], left)
  for _, id in ipairs(ids) do found[#found + 1] = id end
  left = left - #ids
  if left <= 0 then break end
end
return found
