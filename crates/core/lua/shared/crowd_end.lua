  made = {
    stands_before = stands_before,
    line_takes = line_takes,
    join = join,
    leave = leave,
    begin_mending = begin_mending,
    found_free = found_free,
    mend = mend,
    reap = reap,
    hand_off = hand_off,
  }
  return made
end
