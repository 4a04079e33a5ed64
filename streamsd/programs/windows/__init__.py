"""The windows' follower: knows where captured windows are, and has OBS's director cut them out of their displays."""
