-- What ends or keeps a claim, what goes on with jobs that are there, and what makes room is done although the server has
-- reached its 'maxmemory': otherwise a job that has run could not end, and would be run again once its lease is over. The
-- server refuses the first write of a script if that may need memory, and none after one that needs none.
redis.call('DEL', KEYS[1] .. ':despite_full')
