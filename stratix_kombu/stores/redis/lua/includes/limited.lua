-- The end of a step that has asked limits, if any: their books are written, and the starts that they refused are counted.
-- Whoever includes this has `B` of books.lua or nil, `queue`, and how many were `limited`.
if B then
  B.write()
end
if limited > 0 then
  --- @include count
  count(queue, LIMITED, limited)
end
