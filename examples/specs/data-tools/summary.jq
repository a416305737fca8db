"\(.loss | length) steps, from \(.loss[0]) to \(.loss[-1])"
