# /// script
# dependencies = []
# ///

from __future__ import annotations, division

# %% cell 1
import asyncio

# %% cell 2
# from __future__ import (
#     annotations,
#     division,
# )

async def main() -> Later:
    async with asyncio.Lock():
        await asyncio.sleep(0)

class Later:
    async def f(self): await main()

asyncio.run(main())
