-- crowd: what only a contended group needs (line, mend, reap, hand_off), made when it is first asked for.
--
-- A script makes its functions anew in every call, and that is most of what a lone acquire would cost.
local made
crowd = function()
  if made then return made end
